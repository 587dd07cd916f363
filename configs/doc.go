// Package configs gathers the settings of every package into one [Config] and fills it from, in rising precedence,
// the defaults, one YAML file, KITH_… environment variables and flags (spec 12).
//
// One list, in options.go, names every setting. It feeds the keys of the file, the environment variables, the flags,
// their help, the checks and what is printed: a setting that is not in the list does not exist.
//
// All problems are reported at once, each with the path of its key and its line or its variable. A secret is never
// part of one.
//
// The file is read with go.yaml.in/yaml/v4: kept by the YAML organization, Apache-2.0, and its nodes know their lines.
// The standard library has no YAML.
package configs
