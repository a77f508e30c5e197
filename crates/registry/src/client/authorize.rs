//! Authorization: basic credentials, and tokens that a realm gives (distribution's "Token Authentication").
//!
//! A token is asked for with the scope `repository:NAME:pull`, whatever the challenge says, so that no registry gets a
//! token that can do more. Credentials go to the registry itself or to a realm that the settings allow. A realm
//! elsewhere is asked without credentials, and only where the settings have none. Tokens are kept until nine tenths of
//! their lifetime, in memory alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;

use super::Upstream;
use super::ask::{Ask, refused, request};
use super::challenge::Challenge;
use super::connect::Origin;
use super::credentials::{self, Login};
use super::error::Failure;
use super::retry_after::retry_after;

/// The largest answer of a realm. Real tokens have 1 to 6 KB.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// A token's lifetime where the realm names none (distribution's "Token Authentication": 60 seconds).
const LIFETIME: Duration = Duration::from_secs(60);
/// The longest lifetime that is believed.
const LIFETIME_MAX: Duration = Duration::from_secs(3600);
/// Authorizations in memory, one for each repository.
const KEPT_MAX: usize = 256;
/// The name of this client at a realm.
const CLIENT: &str = "lighter";

/// Authorizations by registry and repository.
#[derive(Default)]
pub(super) struct Authorizations {
    known: Mutex<BTreeMap<(String, String), Authorization>>,
}

#[derive(Clone)]
struct Authorization {
    header: HeaderValue,
    /// `None` for basic credentials.
    expires: Option<Instant>,
}

/// A realm's answer.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Authorizations {
    fn get(&self, key: &(String, String), now: Instant) -> Option<HeaderValue> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(key)?.expires.is_some_and(|expires| expires <= now) {
            known.remove(key);
        }
        known.get(key).map(|authorization| authorization.header.clone())
    }

    fn insert(&self, key: (String, String), authorization: Authorization) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT_MAX {
            known.pop_first();
        }
        known.insert(key, authorization);
    }
}

impl Upstream {
    /// The header for a request, if one is known.
    pub(super) fn authorization(&self, ask: &Ask<'_>) -> Option<HeaderValue> {
        self.authorizations.get(&key(ask), Instant::now())
    }

    /// Answers a challenge: afterwards [`Self::authorization`] has the header. Returns whether it stands for
    /// credentials.
    ///
    /// # Errors
    /// `Refused`, `Realm`, `Credentials`, `Protocol`; of the realm also `Unreachable`, `Stalled`, `Broken`, `Status`.
    pub(super) async fn authorize(
        &self,
        ask: &Ask<'_>,
        origin: &Origin,
        challenges: &[Challenge],
    ) -> Result<bool, Failure> {
        let login = self.login(&ask.source.host).await?;
        let of_scheme = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        let authorization = match (of_scheme("bearer"), of_scheme("basic"), &login) {
            (Some(challenge), _, _) => self.token(ask, challenge, login.as_ref()).await?,
            (None, Some(_), Some(Login::Password { username, password })) => {
                Authorization { header: basic(username, password)?, expires: None }
            }
            (None, _, login) => return Err(refused(&origin.authority, StatusCode::UNAUTHORIZED, login.is_some())),
        };
        self.authorizations.insert(key(ask), authorization);
        Ok(login.is_some())
    }

    async fn login(&self, host: &str) -> Result<Option<Login>, Failure> {
        let Some(credentials) = self.settings.of(host).credentials else { return Ok(None) };
        credentials::read(&credentials, host).await.map_err(|source| Failure::Credentials { source })
    }

    async fn token(
        &self,
        ask: &Ask<'_>,
        challenge: &Challenge,
        login: Option<&Login>,
    ) -> Result<Authorization, Failure> {
        let registry = &ask.source.host;
        let (realm, origin) = self.realm(challenge)?;
        if login.is_some() && !self.settings.of(registry).allows_realm(registry, &origin.authority) {
            return Err(Failure::Realm { realm: origin.authority });
        }
        let scope = format!("repository:{}:pull", ask.repository);
        let service = challenge.parameter("service");
        let request = match login {
            Some(Login::IdentityToken(token)) => {
                let mut form = Serializer::new(String::new());
                form.append_pair("grant_type", "refresh_token").append_pair("client_id", CLIENT);
                form.append_pair("scope", &scope).append_pair("refresh_token", token);
                if let Some(service) = service {
                    form.append_pair("service", service);
                }
                let mut request = request(Method::POST, &origin, &realm, Bytes::from(form.finish()))?;
                let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
                request.headers_mut().insert(CONTENT_TYPE, form_type);
                request
            }
            Some(Login::Password { .. }) | None => {
                let mut url = realm;
                if let Some(service) = service {
                    url.query_pairs_mut().append_pair("service", service);
                }
                url.query_pairs_mut().append_pair("scope", &scope);
                let mut request = request(Method::GET, &origin, &url, Bytes::new())?;
                if let Some(Login::Password { username, password }) = login {
                    request.headers_mut().insert(AUTHORIZATION, basic(username, password)?);
                }
                request
            }
        };
        // A realm's redirect is not followed: the token is worth as much as the credentials.
        let mut answer = self.answer(&origin, &request).await?;
        match answer.status.as_u16() {
            200 => read_token(&answer.body.read(ANSWER_BYTES_MAX).await?),
            401 | 403 => Err(refused(&origin.authority, answer.status, login.is_some())),
            status => Err(Failure::Status { status, retry_after: retry_after(&answer.headers) }),
        }
    }

    /// The realm of a challenge: HTTPS, or HTTP at a host that is configured so.
    fn realm(&self, challenge: &Challenge) -> Result<(Url, Origin), Failure> {
        let realm = challenge.parameter("realm").and_then(|realm| Url::parse(realm).ok());
        let realm = realm.and_then(|url| Origin::of(&url).map(|origin| (url, origin)));
        let (url, origin) = realm.ok_or_else(|| Failure::protocol("its challenge has no realm that is a url"))?;
        if origin.is_secure() || self.settings.is_insecure(&origin.authority) {
            Ok((url, origin))
        } else {
            let problem =
                format!("its realm {origin} is to be asked over plain HTTP and is not configured as insecure");
            Err(Failure::protocol(problem))
        }
    }
}

fn key(ask: &Ask<'_>) -> (String, String) {
    (ask.source.host.clone(), ask.repository.to_owned())
}

fn basic(username: &str, password: &str) -> Result<HeaderValue, Failure> {
    secret(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

fn secret(text: &str) -> Result<HeaderValue, Failure> {
    let mut header = HeaderValue::try_from(text).map_err(|_| Failure::protocol("its token is no text of a header"))?;
    header.set_sensitive(true);
    Ok(header)
}

fn read_token(answer: &[u8]) -> Result<Authorization, Failure> {
    let wrong = || Failure::protocol("its realm gives no token");
    let answer: TokenAnswer = serde_json::from_slice(answer).map_err(|_| wrong())?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty()).ok_or_else(wrong)?;
    let lifetime = answer.expires_in.map_or(LIFETIME, Duration::from_secs).min(LIFETIME_MAX);
    Ok(Authorization { header: secret(&format!("Bearer {token}"))?, expires: Some(Instant::now() + lifetime * 9 / 10) })
}
