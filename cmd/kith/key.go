package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kith/broker"
	"kith/configs"
)

// keyFlags say where the tools find the app's master key, for signatures.
type keyFlags struct {
	app    string
	config string
	file   string
	key    string
}

func (k *keyFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&k.app, "app", string(configs.DemoApp), "the app's `id`")
	f.StringVar(&k.config, "config", "", "settings `file` to take the app's master key from (default: "+configs.EnvConfig+")")
	f.StringVar(&k.file, "key-file", "", "`file` that holds the master key; else the variable "+configs.EnvMasterKey)
	f.StringVar(&k.key, "key", "", "the master `key` itself; other users of this machine can read it")
	cmd.MarkFlagsMutuallyExclusive("config", "key-file", "key")
}

func (k *keyFlags) appID() (broker.AppID, error) {
	id, ok := broker.ParseAppID(k.app)
	if !ok {
		return "", usagef("--app %q is not 1–64 of A–Z a–z 0–9 _ . -", k.app)
	}
	return id, nil
}

// given returns the key that flags or the environment name, or "" where they name none.
func (k *keyFlags) given(p *program) (string, error) {
	switch {
	case k.key != "":
		return k.key, nil
	case k.file != "":
		return readKey(k.file)
	case k.config == "" && p.env(configs.EnvMasterKey) != "":
		return p.env(configs.EnvMasterKey), nil
	case k.config != "" || p.env(configs.EnvConfig) != "":
		return k.configured(p)
	}
	return "", nil
}

// find is given, or else the key of the demo app in the data folder.
func (k *keyFlags) find(p *program) (string, error) {
	key, err := k.given(p)
	if err != nil || key != "" {
		return key, err
	}
	return k.configured(p)
}

// settings are those of the server, where they are at hand.
func (k *keyFlags) settings(p *program) (*configs.Config, error) {
	file := k.config
	if file == "" {
		file = p.env(configs.EnvConfig)
	}
	c, err := configs.Load(configs.Sources{File: file, Environ: p.environ})
	if err != nil {
		return nil, settingsError(err)
	}
	return c, nil
}

func (k *keyFlags) configured(p *program) (string, error) {
	c, err := k.settings(p)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(c.Apps, func(a broker.AppConfig) bool { return string(a.ID) == k.app })
	switch {
	case i >= 0:
		return c.Apps[i].MasterKey, nil
	case len(c.Apps) == 0:
		return "", usagef("no master key: name a file with --config or --key-file, or set %s; or run this in the folder where kith serve made its ./%s",
			configs.EnvMasterKey, c.DemoFile())
	}
	return "", usagef("there is no app %q; choose one with --app: %s", k.app, strings.Join(appNames(c), ", "))
}

func appNames(c *configs.Config) []string {
	names := make([]string, len(c.Apps))
	for i, a := range c.Apps {
		names[i] = string(a.ID)
	}
	return names
}

func readKey(path string) (string, error) { return readSecret("master key", path) }

// readSecret reads a file that holds one secret.
func readSecret(what, path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the %s: %w", what, err)
	}
	secret := strings.TrimRight(string(data), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("read the %s: %s is empty", what, path)
	}
	return secret, nil
}
