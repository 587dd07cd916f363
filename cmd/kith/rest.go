package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kith/api"
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
	r.addOperator(cmd)
	r.key.add(cmd)
}

// addOperator adds the flags of what only an operator may do.
func (r *restFlags) addOperator(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.base, "api", defaultREST, "the server's REST: a `URL`")
	f.StringVar(&r.ca, "ca", "", "PEM `file` of the authority that signed the server's certificate (default: the system's)")
	f.StringVar(&r.token, "token-file", "", "`file` that holds an operator's token, to use instead of the master key")
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
func (r *restFlags) open(p *program) (*rest, error) {
	base, err := url.Parse(r.base)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, usagef("--api %q: write a URL such as https://chat.example.com:8080", r.base)
	}
	c := &rest{base: strings.TrimSuffix(base.String(), "/")}
	if c.auth, err = r.credentials(p); err != nil {
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
	if r.token != "" {
		token, err := readSecret("operator's token", r.token)
		return func(req *http.Request) { req.Header.Set("Authorization", "Bearer "+token) }, err
	}
	app, err := r.key.appID()
	if err != nil {
		return nil, err
	}
	key, err := r.key.find(p)
	return func(req *http.Request) { req.SetBasicAuth(string(app), key) }, err
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
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close() //nolint:errcheck // nothing to do about it
	refused := &refusedCall{status: res.StatusCode}
	_ = json.NewDecoder(io.LimitReader(res.Body, maxProblem)).Decode(&refused.problem) // else the status says it
	return nil, refused
}
