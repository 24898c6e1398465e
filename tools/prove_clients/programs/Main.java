// Introspect with the introspector that Spring Boot configures.
import org.springframework.security.oauth2.server.resource.introspection.BadOpaqueTokenException;
import org.springframework.security.oauth2.server.resource.introspection.SpringOpaqueTokenIntrospector;

public class Main {
    public static void main(String[] arguments) {
        var introspector = SpringOpaqueTokenIntrospector
                .withIntrospectionUri(System.getenv("ROLLCALL_URL") + "/v1/introspect")
                .clientId("gateway").clientSecret(System.getenv("ROLLCALL_KEY")).build();
        try {
            var principal = introspector.introspect(System.getenv("TOKEN"));
            System.out.println(principal.<String>getAttribute("username"));
        } catch (BadOpaqueTokenException error) {
            System.out.println("refused");
        }
    }
}
