// Uses the Go client of oapi-codegen; prints a line for each step.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"example.org/clients/oapi/rollcall"
)

const newPassword = "crimson kettle drums loudly"

func step(name string, err error, isRight bool, body []byte) {
	switch {
	case err != nil:
		fmt.Printf("%s: %v\n", name, err)
	case !isRight:
		fmt.Printf("%s: %s\n", name, body)
	default:
		fmt.Printf("%s: ok\n", name)
	}
}

func client(token string) *rollcall.ClientWithResponses {
	bearing := func(_ context.Context, request *http.Request) error {
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		return nil
	}
	made, err := rollcall.NewClientWithResponses(
		os.Getenv("ROLLCALL_URL"), rollcall.WithRequestEditorFn(bearing))
	if err != nil {
		panic(err)
	}
	return made
}

func logIn(loginID string) (*rollcall.LogInResponse, error) {
	password := os.Getenv("ROLLCALL_PASSWORD")
	body := rollcall.LogInBody{LoginId: &loginID, Password: &password}
	return client("").LogInWithResponse(context.Background(), body)
}

func main() {
	ctx := context.Background()
	password, loginID := os.Getenv("ROLLCALL_PASSWORD"), os.Getenv("ROLLCALL_NEW")

	opened, err := logIn("root")
	if err != nil || opened.JSON201 == nil {
		fmt.Printf("log in: %v\n", err)
		os.Exit(1)
	}
	step("log in", nil, true, nil)
	root := client(*opened.JSON201.Token)

	body := rollcall.CreateUserBody{LoginId: loginID, Name: "Ada", Password: &password}
	created, err := root.CreateUserWithResponse(ctx, nil, body)
	step("create a user", err, err == nil && created.JSON201 != nil, created.Body)

	ids := []string{created.JSON201.Id.String()}
	page, err := root.ListUsersWithResponse(ctx, &rollcall.ListUsersParams{Id: &ids})
	isFound := err == nil && page.JSON200 != nil && len(page.JSON200.Items) == 1
	step("list users", err, isFound && page.JSON200.Items[0].LoginId == loginID, page.Body)

	events, err := root.ListEventsWithResponse(ctx, nil)
	step("list events", err, err == nil && events.JSON200 != nil && len(events.JSON200.Items) > 0, events.Body)

	form := rollcall.IntrospectBody{Token: *opened.JSON201.Token}
	told, err := client(os.Getenv("ROLLCALL_KEY")).IntrospectWithFormdataBodyWithResponse(ctx, form)
	isActive := err == nil && told.JSON200 != nil && told.JSON200.Active && *told.JSON200.Exp > 0
	step("introspect", err, isActive, told.Body)

	ada, err := logIn(loginID)
	if err == nil && ada.JSON201 != nil {
		change := rollcall.ChangePasswordBody{CurrentPassword: &password, NewPassword: newPassword}
		changed, err := client(*ada.JSON201.Token).ChangePasswordWithResponse(ctx, "me", nil, change)
		step("change a password", err, err == nil && changed.StatusCode() == 204, changed.Body)
	}

	ended, err := root.LogOutWithResponse(ctx, nil)
	step("log out", err, err == nil && ended.StatusCode() == 204, ended.Body)
}
