// Uses the Go client of openapi-generator; prints a line for each step.
package main

import (
	"context"
	"fmt"
	"os"

	"example.org/clients/rollcall"
)

const newPassword = "crimson kettle drums loudly"

func step(name string, err error) {
	if err == nil {
		fmt.Printf("%s: ok\n", name)
	} else {
		fmt.Printf("%s: %v\n", name, err)
	}
}

func bearing(token string) context.Context {
	return context.WithValue(context.Background(), rollcall.ContextAccessToken, token)
}

func main() {
	config := rollcall.NewConfiguration()
	config.Servers = rollcall.ServerConfigurations{{URL: os.Getenv("ROLLCALL_URL")}}
	api := rollcall.NewAPIClient(config)
	password, loginID := os.Getenv("ROLLCALL_PASSWORD"), os.Getenv("ROLLCALL_NEW")

	credentials := rollcall.LogInBody{}
	credentials.SetLoginId("root")
	credentials.SetPassword(password)
	opened, _, err := api.SessionsAPI.LogIn(context.Background()).LogInBody(credentials).Execute()
	step("log in", err)
	if err != nil {
		os.Exit(1)
	}
	root := bearing(opened.GetToken())

	body := *rollcall.NewCreateUserBody(loginID, "Ada")
	body.SetPassword(password)
	user, _, err := api.UsersAPI.CreateUser(root).CreateUserBody(body).Execute()
	step("create a user", err)

	page, _, err := api.UsersAPI.ListUsers(root).Id([]string{user.GetId()}).Execute()
	if err == nil && (len(page.Items) != 1 || page.Items[0].LoginId != loginID) {
		err = fmt.Errorf("not found: %v", page.Items)
	}
	step("list users", err)

	events, _, err := api.EventsAPI.ListEvents(root).Execute()
	if err == nil && len(events.Items) == 0 {
		err = fmt.Errorf("no events")
	}
	step("list events", err)

	gateway := bearing(os.Getenv("ROLLCALL_KEY"))
	told, _, err := api.IntrospectionAPI.Introspect(gateway).Token(opened.GetToken()).Execute()
	if err == nil && !(told.Active && told.GetUsername() == "root" && told.GetExp() > 0) {
		err = fmt.Errorf("inactive: %v", told)
	}
	step("introspect", err)

	credentials.SetLoginId(loginID)
	ada, _, err := api.SessionsAPI.LogIn(context.Background()).LogInBody(credentials).Execute()
	if err == nil {
		change := *rollcall.NewChangePasswordBody(newPassword)
		change.SetCurrentPassword(password)
		_, err = api.PasswordsAPI.ChangePassword(bearing(ada.GetToken()), "me").ChangePasswordBody(change).Execute()
	}
	step("change a password", err)

	_, err = api.SessionsAPI.LogOut(root).Execute()
	step("log out", err)
}
