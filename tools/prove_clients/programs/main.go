// Introspect with zitadel/oidc, which discovers the endpoint.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/zitadel/oidc/v3/pkg/client/rs"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

func main() {
	ctx := context.Background()
	server, err := rs.NewResourceServerClientCredentials(ctx, os.Getenv("ROLLCALL_URL"), "gateway", os.Getenv("ROLLCALL_KEY"))
	if err != nil {
		panic(err)
	}
	answer, err := rs.Introspect[*oidc.IntrospectionResponse](ctx, server, os.Getenv("TOKEN"))
	switch {
	case err != nil:
		panic(err)
	case answer.Active:
		fmt.Println(answer.Username)
	default:
		fmt.Println("refused")
	}
}
