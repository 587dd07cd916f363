package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kith/configs"
)

// settingsFlags are the flags of a command that takes settings. Each setting outside of a list has a flag of its own,
// made from the one list of settings; those of apps and operators are set with --set.
type settingsFlags struct {
	file  string
	flags []configs.Flag
}

func (s *settingsFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.file, "config", "", "`file` with the settings (default: "+configs.EnvConfig+", else none)")
	f.Var(&setFlag{s}, "set", "set any setting: `key=value`, such as apps[0].queue.age=24h; can be repeated")
	for _, setting := range configs.Settings() {
		if !setting.List && !setting.Secret {
			f.Var(&settingFlag{s, setting}, flagName(setting.Key), setting.Doc)
		}
	}
}

// sources are where the settings come from; the flags were parsed.
func (s *settingsFlags) sources(p *program) configs.Sources {
	file := s.file
	if file == "" {
		file = p.env(configs.EnvConfig)
	}
	return configs.Sources{File: file, Environ: p.environ, Flags: s.flags}
}

func flagName(key string) string {
	return strings.NewReplacer(".", "-", "_", "-").Replace(key)
}

// settingFlag is the flag of one setting.
type settingFlag struct {
	flags   *settingsFlags
	setting configs.Setting
}

var _ pflag.Value = (*settingFlag)(nil)

func (f *settingFlag) String() string { return f.setting.Default }
func (f *settingFlag) Type() string   { return "value" }

func (f *settingFlag) Set(value string) error {
	f.flags.flags = append(f.flags.flags, configs.Flag{Name: "--" + flagName(f.setting.Key), Key: f.setting.Key, Value: value})
	return nil
}

// setFlag is --set.
type setFlag struct{ flags *settingsFlags }

func (f *setFlag) String() string { return "" }
func (f *setFlag) Type() string   { return "key=value" }

func (f *setFlag) Set(text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("write key=value, such as --set apps[0].queue.age=24h")
	}
	f.flags.flags = append(f.flags.flags, configs.Flag{Name: "--set", Key: key, Value: value})
	return nil
}

// newSettingsHelp is the help topic "kith settings".
func newSettingsHelp() *cobra.Command {
	return &cobra.Command{
		Use:     "settings",
		Short:   "List every setting with its variable, default and meaning",
		Example: "  kith settings | grep queue",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			for _, s := range configs.Settings() {
				text := fmt.Sprintf("%s\n    %s\n    %s", s.Key, s.Env, s.Doc)
				if s.Default != "" {
					text += "; default " + s.Default
				}
				if _, err := fmt.Fprintln(out, text); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
