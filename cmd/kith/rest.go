package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kith/api"
	"kith/configs"
)

const defaultREST = "http://127.0.0.1:8080"

// restFlags say which server's REST a tool talks to, and as whom: as the app, with its master key, or as an operator.
type restFlags struct {
	key   keyFlags
	base  string
	ca    string
	token string // a file
}

func (r *restFlags) add(cmd *cobra.Command) {
	r.addServer(cmd)
	cmd.Flags().StringVar(&r.token, "token-file", "", "`file` that holds an operator's token, to use instead of the master key; else the variable "+configs.EnvToken)
	r.key.add(cmd)
}

func (r *restFlags) addServer(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.base, "api", "", "the server's REST: a `URL` (default: "+configs.EnvAPI+", else "+defaultREST+")")
	f.StringVar(&r.ca, "ca", "", "PEM `file` of the authority that signed the server's certificate (default: the system's)")
}

// addAdmin adds the flags of a command that only an admin of all apps may run.
func (r *restFlags) addAdmin(cmd *cobra.Command) {
	r.addServer(cmd)
	f := cmd.Flags()
	f.StringVar(&r.token, "token-file", "", "`file` that holds the token of an admin of all apps; else the variable "+configs.EnvToken)
	f.StringVar(&r.key.config, "config", "", "settings `file` to take the token of an admin of all apps from (default: "+configs.EnvConfig+")")
	cmd.MarkFlagsMutuallyExclusive("config", "token-file")
}

// rest is a server's REST.
type rest struct {
	http *http.Client
	base string
	auth func(*http.Request)
}

// restConnect bounds how long a tool waits for a connection, and restAnswer for the beginning of an answer.
const (
	restConnect = 10 * time.Second
	restAnswer  = 2 * time.Minute
)

// open prepares calls about an app.
func (r *restFlags) open(p *program) (*rest, error) { return r.connect(p, r.credentials) }

// openAdmin prepares calls about the whole server.
func (r *restFlags) openAdmin(p *program) (*rest, error) { return r.connect(p, r.adminCredentials) }

func (r *restFlags) connect(p *program, credentials func(*program) (func(*http.Request), error)) (*rest, error) {
	at := cmp.Or(r.base, p.env(configs.EnvAPI), defaultREST)
	base, err := url.Parse(at)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, usagef("--api %q: write a URL such as https://chat.example.com:8080", at)
	}
	c := &rest{base: strings.TrimSuffix(base.String(), "/")}
	if c.auth, err = credentials(p); err != nil {
		return nil, err
	}
	roots, err := r.roots()
	if err != nil {
		return nil, err
	}
	c.http = &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: restConnect, ResponseHeaderTimeout: restAnswer,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
	}}
	return c, nil
}

func (r *restFlags) credentials(p *program) (func(*http.Request), error) {
	if token, err := r.operatorToken(p); err != nil || token != "" {
		return withToken(token), err
	}
	app, err := r.key.appID()
	if err != nil {
		return nil, err
	}
	key, err := r.key.find(p)
	return func(req *http.Request) { req.SetBasicAuth(string(app), key) }, err
}

// operatorToken is the token that flags or the environment name, or "". A key that flags name goes before the environment's token.
func (r *restFlags) operatorToken(p *program) (string, error) {
	switch {
	case r.token != "":
		return readSecret("operator's token", r.token)
	case r.key.config == "" && r.key.file == "" && r.key.key == "":
		return p.env(configs.EnvToken), nil
	}
	return "", nil
}

func withToken(token string) func(*http.Request) {
	return func(req *http.Request) { req.Header.Set("Authorization", "Bearer "+token) }
}

// adminCredentials are a token that was given, or one in the settings.
func (r *restFlags) adminCredentials(p *program) (func(*http.Request), error) {
	if token, err := r.operatorToken(p); err != nil || token != "" {
		return withToken(token), err
	}
	c, err := r.key.settings(p)
	if err != nil {
		return nil, err
	}
	for _, o := range c.API.Operators {
		if o.Token != "" && o.Role == api.RoleAdmin && slices.Contains(o.Apps, api.AllApps) {
			return withToken(o.Token), nil
		}
	}
	return nil, usagef("no operator's token: name a file with --token-file, set "+configs.EnvToken+", or with --config one whose operators have an admin of all apps; or run this in the folder where kith serve made its ./%s",
		c.DemoFile())
}

func (r *restFlags) roots() (*x509.CertPool, error) {
	if r.ca == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(r.ca)
	if err != nil {
		return nil, fmt.Errorf("read --ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, usagef("--ca %s holds no certificate in PEM form", r.ca)
	}
	return roots, nil
}

// refusedCall is an answer that is no success.
type refusedCall struct {
	status  int
	problem api.Problem
}

func (e *refusedCall) Error() string {
	if e.problem.Detail == "" {
		return fmt.Sprintf("the server answered %d %s", e.status, http.StatusText(e.status))
	}
	return fmt.Sprintf("%d %s: %s", e.problem.Code, e.problem.Name, e.problem.Detail)
}

// maxProblem bounds what is read of a refusal.
const maxProblem = 1 << 20

// do makes a call; the caller closes the body of its answer.
func (c *rest) do(ctx context.Context, method, path string, body io.Reader, mediaType string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", path, err)
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	c.auth(req)
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no answer: %w; is kith running there? (--api)", err)
	}
	if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusNoContent {
		return res, nil
	}
	defer res.Body.Close() //nolint:errcheck // nothing to do about it
	refused := &refusedCall{status: res.StatusCode}
	_ = json.NewDecoder(io.LimitReader(res.Body, maxProblem)).Decode(&refused.problem) // else the status says it
	return nil, refused
}

// call makes a call with a body in JSON, unless that is nil, and reads its answer, where there is one.
func (c *rest) call(ctx context.Context, method, path string, body, answer any) error {
	var content io.Reader
	mediaType := ""
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("call %s: %w", path, err)
		}
		content, mediaType = bytes.NewReader(text), "application/json"
	}
	res, err := c.do(ctx, method, path, content, mediaType)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	if res.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		return fmt.Errorf("the answer of %s does not parse: %w", path, err)
	}
	return nil
}
