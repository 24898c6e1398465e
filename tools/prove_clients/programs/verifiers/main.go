// Verify access tokens, one a line, with go-oidc, which discovers the keys.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"

	"github.com/coreos/go-oidc/v3/oidc"
)

func main() {
	ctx := context.Background()
	provider, err := oidc.NewProvider(ctx, os.Getenv("ROLLCALL_URL"))
	if err != nil {
		panic(err)
	}
	expected := &oidc.Config{ClientID: os.Getenv("AUDIENCE"), SupportedSigningAlgs: []string{oidc.ES256}}
	verifier := provider.Verifier(expected)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		token, err := verifier.Verify(ctx, lines.Text())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			fmt.Println("refused")
			continue
		}
		fmt.Println(token.Subject)
	}
}
