// Verify access tokens, one a line, with the decoder of a Spring resource server.
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import org.springframework.security.oauth2.jose.jws.SignatureAlgorithm;
import org.springframework.security.oauth2.jwt.BadJwtException;
import org.springframework.security.oauth2.jwt.JwtValidators;
import org.springframework.security.oauth2.jwt.NimbusJwtDecoder;

public class Main {
    public static void main(String[] arguments) throws IOException {
        var issuer = System.getenv("ROLLCALL_URL");
        var decoder = NimbusJwtDecoder.withJwkSetUri(issuer + "/.well-known/jwks.json")
                .jwsAlgorithm(SignatureAlgorithm.ES256).validateType(false).build();
        decoder.setJwtValidator(JwtValidators.createAtJwtValidator()
                .issuer(issuer).audience(System.getenv("AUDIENCE")).clientId("rollcall").build());
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (var token = lines.readLine(); token != null; token = lines.readLine()) {
            try {
                System.out.println(decoder.decode(token).getSubject());
            } catch (BadJwtException error) {
                System.out.println("refused");
            }
        }
    }
}
