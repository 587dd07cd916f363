package main

import (
	"crypto/rand"
	"fmt"

	"github.com/spf13/cobra"

	"kith/api"
)

func newToken(p *program) *cobra.Command {
	return &cobra.Command{
		Use:   "token",
		Short: "Make an operator's token, and the hash of it for the settings",
		Long: `Token makes a new token of 130 random bits for an operator, and its SHA-256. Give the token to the operator and
put the hash into the settings as token_hash: who reads the settings then cannot use it. Nothing is stored.

For a token that you have: printf %s "$TOKEN" | sha256sum`,
		Example: `  kith token`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			token := rand.Text()
			_, err := fmt.Fprintf(p.stdout, "token       %s\ntoken_hash  %s\n", token, api.HashToken(token))
			return err
		},
	}
}
