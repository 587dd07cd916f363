package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"kith/configs"
)

func newCheck(p *program) *cobra.Command {
	var settings settingsFlags
	var show bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the settings and tell every problem at once",
		Long: `Check reads the settings as "kith serve" would and tells every problem, each with its key and line.
It starts nothing and writes nothing. Warnings do not make it fail.`,
		Example: `  kith check --config kith.yaml
  kith check --config kith.yaml --print
  KITH_LISTEN_MQTT=:1884 kith check --print`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return p.check(settings.sources(p), show) },
	}
	settings.add(cmd)
	cmd.Flags().BoolVar(&show, "print", false, "print the settings in force, with secrets masked")
	return cmd
}

func (p *program) check(s configs.Sources, show bool) error {
	c, err := configs.Load(s)
	if err != nil {
		return settingsError(err)
	}
	for _, w := range c.Warnings() {
		if _, err := fmt.Fprintln(p.stderr, "warning:", w); err != nil {
			return err
		}
	}
	if show {
		text, err := c.Masked().YAML()
		if err != nil {
			return err
		}
		_, err = p.stdout.Write(text)
		return err
	}
	switch {
	case s.File != "":
		_, err = fmt.Fprintf(p.stdout, "%s is fine: %s\n", s.File, count(len(c.Apps), "app"))
	case len(c.Apps) == 0:
		_, err = fmt.Fprintf(p.stdout, "no settings file, which is fine: kith serve makes an app %q in %s\n", configs.DemoApp, c.Store.Pebble.Path)
	default:
		_, err = fmt.Fprintf(p.stdout, "no settings file, which is fine: %s\n", count(len(c.Apps), "app"))
	}
	return err
}

// settingsError puts a heading over the problems.
func settingsError(err error) error {
	if n := strings.Count(err.Error(), "\n") + 1; n > 1 {
		return fmt.Errorf("%d problems in the settings:\n%w", n, err)
	}
	return err
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
