// Verify access tokens, one a line, with jsonwebtoken, which leaves the keys to its user.
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{decode, decode_header, Algorithm, DecodingKey, Validation};
use serde_json::Value;
use std::error::Error;
use std::io::{stdin, BufRead};

struct Keys {
    url: String,
    published: JwkSet,
}

impl Keys {
    /// Return a key; the published ones are read again for an id that is not among them.
    fn get(&mut self, id: &str) -> Result<Jwk, Box<dyn Error>> {
        if self.published.find(id).is_none() {
            self.published = ureq::get(&self.url).call()?.body_mut().read_json()?;
        }
        self.published.find(id).cloned().ok_or("no such key".into())
    }
}

fn verify(token: &str, keys: &mut Keys, expected: &Validation) -> Result<String, Box<dyn Error>> {
    let header = decode_header(token)?;
    if header.typ.as_deref() != Some("at+jwt") {
        return Err("not an access token".into());
    }
    let key = DecodingKey::from_jwk(&keys.get(&header.kid.ok_or("no key id")?)?)?;
    let claims = decode::<Value>(token, &key, expected)?.claims;
    Ok(claims["sub"].as_str().ok_or("no subject")?.to_string())
}

fn main() {
    let issuer = std::env::var("ROLLCALL_URL").unwrap();
    let mut expected = Validation::new(Algorithm::ES256);
    expected.set_issuer(&[&issuer]);
    expected.set_audience(&[std::env::var("AUDIENCE").unwrap()]);
    expected.set_required_spec_claims(&["exp", "iss", "aud"]);
    let mut keys = Keys { url: format!("{issuer}/.well-known/jwks.json"), published: JwkSet { keys: vec![] } };
    for token in stdin().lock().lines() {
        match verify(&token.unwrap(), &mut keys, &expected) {
            Ok(subject) => println!("{subject}"),
            Err(error) => {
                eprintln!("{error}");
                println!("refused");
            }
        }
    }
}
