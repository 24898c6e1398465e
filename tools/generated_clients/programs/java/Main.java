// Uses the Java client of openapi-generator; prints a line for each step.
import java.util.List;
import org.openapitools.client.ApiClient;
import org.openapitools.client.api.*;
import org.openapitools.client.model.*;

public class Main {
    interface Step {
        boolean run() throws Exception;
    }

    static final String URL = System.getenv("ROLLCALL_URL");
    static final String PASSWORD = System.getenv("ROLLCALL_PASSWORD");
    static final String NEW_PASSWORD = "crimson kettle drums loudly";
    static LoggedInView opened;
    static UserView user;

    static void step(String name, Step step) {
        try {
            System.out.println(name + ": " + (step.run() ? "ok" : "not what was expected"));
        } catch (Exception error) {
            System.out.println(name + ": " + error.toString().replace('\n', ' '));
        }
    }

    static ApiClient client(String token) {
        ApiClient client = new ApiClient();
        client.updateBaseUri(URL);
        if (token != null) {
            client.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + token));
        }
        return client;
    }

    static LoggedInView logIn(String loginId) throws Exception {
        return new SessionsApi(client(null)).logIn(new LogInBody().loginId(loginId).password(PASSWORD));
    }

    public static void main(String[] arguments) {
        String loginId = System.getenv("ROLLCALL_NEW");
        step("log in", () -> (opened = logIn("root")) != null);
        ApiClient root = client(opened.getToken());
        step("create a user", () -> {
            CreateUserBody body = new CreateUserBody().loginId(loginId).name("Ada").password(PASSWORD);
            user = new UsersApi(root).createUser(body, null);
            return user.getLoginId().equals(loginId);
        });
        step("list users", () -> {
            UserPage page = new UsersApi(root).listUsers(
                List.of(user.getId().toString()), null, null, null, null, null, null, null, null, null, null, null);
            return page.getItems().size() == 1 && page.getItems().get(0).equals(user);
        });
        step("list events", () -> !new EventsApi(root).listEvents(null, null).getItems().isEmpty());
        step("introspect", () -> {
            ApiClient gateway = client(System.getenv("ROLLCALL_KEY"));
            IntrospectionView told = new IntrospectionApi(gateway).introspect(opened.getToken(), null, null, null);
            return told.getActive() && told.getUsername().equals("root") && told.getExp() > 0;
        });
        step("change a password", () -> {
            ChangePasswordBody body = new ChangePasswordBody().newPassword(NEW_PASSWORD).currentPassword(PASSWORD);
            new PasswordsApi(client(logIn(loginId).getToken())).changePassword("me", body, null);
            return true;
        });
        step("log out", () -> {
            new SessionsApi(root).logOut(null);
            return true;
        });
    }
}
