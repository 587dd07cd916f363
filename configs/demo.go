package configs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"kith/api"
	"kith/broker"
)

// DemoApp is the app of a node that is started without a file and without apps.
const DemoApp broker.AppID = "demo"

const demoFileName = "demo.yaml"

// DemoFile is where the demo app's master key and operator token are kept, in the form of settings.
func (c *Config) DemoFile() string { return filepath.Join(c.Store.Pebble.Path, demoFileName) }

// addDemo adds the demo app and its operator from DemoFile. Where there is no such file it is made, or nothing is added.
func (l *loader) addDemo(makeFile bool) error {
	path := l.config.DemoFile()
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !makeFile:
		l.config.Demo = true
		return nil
	case errors.Is(err, fs.ErrNotExist):
		if data, err = makeDemo(path); err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("read the demo app's keys: %w", err)
	}
	demo, err := Parse(Sources{File: path}, data)
	if err != nil {
		return fmt.Errorf("the demo app's keys in %s cannot be used (remove the file, and new ones are made):\n%w", path, err)
	}
	l.config.Demo = true
	l.config.Apps = demo.Apps
	if len(l.config.API.Operators) == 0 {
		l.config.API.Operators = demo.API.Operators
	}
	return nil
}

// makeDemo makes keys once and keeps them with owner-only access.
func makeDemo(path string) ([]byte, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	keys := fmt.Sprintf(`# Made by kith at its first start without a file. To keep these when you write your own kith.yaml, copy them there.
operators:
  - {name: demo, token: %s, role: admin, apps: ["*"]}
apps:
  - id: %s
    master_key: %s
`, rand.Text(), DemoApp, rand.Text())

	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep the demo app's keys: %w", err)
	}
	_, err = f.WriteString(keys)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("keep the demo app's keys: %w", err)
	}
	return []byte(keys), nil
}

// DemoKeys returns the demo app's master key and a token that opens all of REST for it.
func (c *Config) DemoKeys() (masterKey, token string) {
	for _, a := range c.Apps {
		if a.ID == DemoApp {
			masterKey = a.MasterKey
		}
	}
	for _, o := range c.API.Operators {
		if o.Role == api.RoleAdmin {
			token = o.Token
		}
	}
	return masterKey, token
}
