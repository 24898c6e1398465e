// Uses the Rust client of openapi-generator; prints a line for each step.
use rollcall::apis::configuration::Configuration;
use rollcall::apis::{events_api, introspection_api, passwords_api, sessions_api, users_api};
use rollcall::models;
use std::fmt::Debug;

fn variable(name: &str) -> String {
    std::env::var(name).unwrap()
}

fn step<T, E: Debug>(name: &str, result: Result<T, E>, is_right: impl Fn(&T) -> bool) -> Option<T> {
    match result {
        Ok(value) if is_right(&value) => {
            println!("{name}: ok");
            Some(value)
        }
        Ok(_) => {
            println!("{name}: not what was expected");
            None
        }
        Err(error) => {
            println!("{name}: {}", format!("{error:?}").replace('\n', " "));
            None
        }
    }
}

fn client(token: Option<&str>) -> Configuration {
    Configuration {
        base_path: variable("ROLLCALL_URL"),
        bearer_access_token: token.map(String::from),
        ..Configuration::default()
    }
}

fn credentials(login_id: &str) -> models::LogInBody {
    models::LogInBody {
        login_id: Some(login_id.into()),
        password: Some(variable("ROLLCALL_PASSWORD")),
        ..models::LogInBody::new()
    }
}

#[tokio::main]
async fn main() {
    let login_id = variable("ROLLCALL_NEW");
    let opened = sessions_api::log_in(&client(None), credentials("root")).await;
    let opened = step("log in", opened, |_| true).unwrap();
    let root = client(opened.token.as_deref());

    let mut body = models::CreateUserBody::new(login_id.clone(), "Ada".into());
    body.password = Some(variable("ROLLCALL_PASSWORD"));
    let user = users_api::create_user(&root, body, None).await;
    let user = step("create a user", user, |user| user.login_id == login_id).unwrap();

    let ids = Some(vec![user.id.to_string()]);
    let page =
        users_api::list_users(&root, ids, None, None, None, None, None, None, None, None, None, None, None).await;
    step("list users", page, |page| page.items.len() == 1 && page.items[0].login_id == login_id);

    let events = events_api::list_events(&root, None, None).await;
    step("list events", events, |events| !events.items.is_empty());

    let gateway = client(Some(&variable("ROLLCALL_KEY")));
    let told = introspection_api::introspect(&gateway, opened.token.as_deref().unwrap(), None, None, None).await;
    step("introspect", told, |told| told.active && told.exp > Some(0i64));

    let ada = sessions_api::log_in(&client(None), credentials(&login_id)).await.unwrap();
    let mut change = models::ChangePasswordBody::new("crimson kettle drums loudly".into());
    change.current_password = Some(variable("ROLLCALL_PASSWORD"));
    let changed = passwords_api::change_password(&client(ada.token.as_deref()), "me", change, None).await;
    step("change a password", changed, |_| true);

    step("log out", sessions_api::log_out(&root, None).await, |_| true);
}
