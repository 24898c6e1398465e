// Uses the Kotlin client of openapi-generator; prints a line for each step.
import java.util.UUID
import org.openapitools.client.apis.*
import org.openapitools.client.infrastructure.ApiClient
import org.openapitools.client.models.*

val url: String = System.getenv("ROLLCALL_URL")
val password: String = System.getenv("ROLLCALL_PASSWORD")
val loginId: String = System.getenv("ROLLCALL_NEW")
lateinit var opened: LoggedInView
lateinit var user: UserView

fun step(name: String, run: () -> Boolean) {
    try {
        println("$name: ${if (run()) "ok" else "not what was expected"}")
    } catch (error: Exception) {
        println("$name: ${error.toString().replace('\n', ' ')}")
    }
}

fun <T> bearing(token: String?, call: () -> T): T {
    ApiClient.accessToken = token
    return call()
}

fun logIn(name: String) = bearing(null) { SessionsApi(url).logIn(LogInBody(loginId = name, password = password)) }

fun main() {
    step("log in") { opened = logIn("root"); true }
    step("create a user") {
        val body = CreateUserBody(loginId = loginId, name = "Ada", password = password)
        user = bearing(opened.token) { UsersApi(url).createUser(body) }
        user.loginId == loginId
    }
    step("list users") {
        val page = bearing(opened.token) { UsersApi(url).listUsers(id = listOf(user.id.toString())) }
        page.items.size == 1 && page.items[0].loginId == loginId
    }
    step("list events") { bearing(opened.token) { EventsApi(url).listEvents() }.items.isNotEmpty() }
    step("introspect") {
        val told = bearing(System.getenv("ROLLCALL_KEY")) { IntrospectionApi(url).introspect(opened.token) }
        told.active && told.username == "root" && told.exp!! > 0L
    }
    step("change a password") {
        val body = ChangePasswordBody(newPassword = "crimson kettle drums loudly", currentPassword = password)
        val ada = logIn(loginId)
        bearing(ada.token) { PasswordsApi(url).changePassword("me", body) }
        true
    }
    step("log out") { bearing(opened.token) { SessionsApi(url).logOut() }; true }
}
