//! What a token says: user name, client id, rights.

use crate::grant::Granted;
use serde_json::Value;

/// What is made of a token's claims.
#[derive(Clone, Debug, Default)]
pub struct ClaimRules {
    /// The claim that is the user name; it has to be there.
    pub username: String,
    /// The claim that is the client id; empty: none is.
    pub client_id: String,
    /// The claim with rights; it may be missing.
    pub acl: String,
    /// Rights of everybody with a token, as in `acl_file`, with `%{CLAIM}` as a level.
    pub templates: Vec<String>,
}

/// What a token says.
#[derive(Clone, Debug)]
pub struct Claims {
    /// Its user.
    pub username: String,
    /// The only client id it is for.
    pub client_id: Option<String>,
    /// When it ends, in seconds since 1970; `None`: never.
    pub end_s: Option<u64>,
    /// What its client may do; `None`: it says nothing of that.
    pub granted: Option<Granted>,
    /// Tells the key it was signed with from others.
    pub key: u64,
}

impl ClaimRules {
    /// # Errors
    /// A claim is missing, or not what it should be: for the log.
    pub(super) fn read(
        &self,
        claims: &Value,
        end_s: Option<u64>,
        key: u64,
    ) -> Result<Claims, &'static str> {
        let username = text(claims, &self.username)
            .ok_or("the token has no user name (jwt_username_claim)")?;
        let client_id = match self.client_id.as_str() {
            "" => None,
            name => {
                Some(text(claims, name).ok_or("the token has no client id (jwt_clientid_claim)")?)
            }
        };
        let granted = self.granted(claims)?;
        Ok(Claims { username, client_id, end_s, granted, key })
    }

    fn granted(&self, claims: &Value) -> Result<Option<Granted>, &'static str> {
        const WRONG: &str = "the token's rights are not understood (jwt_acl_claim)";
        let own = find(claims, &self.acl);
        if own.is_none() && self.templates.is_empty() {
            return Ok(None);
        }
        let mut granted = Granted::default();
        for template in &self.templates {
            // Without the claim there is nothing for the rule to be about.
            if let Some(rule) = fill(template, claims) {
                granted.add(&rule).map_err(|_| "the token fills no rule of jwt_acl")?;
            }
        }
        if let Some(own) = own {
            granted.parse(own).map_err(|_| WRONG)?;
        }
        Ok(Some(granted))
    }
}

/// Checks a template of [`ClaimRules::templates`].
///
/// # Errors
/// It would make no rule, whatever a token says.
pub fn check_template(template: &str) -> Result<(), String> {
    let mut rule = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("%{") {
        let (name, after) = behind.split_once('}').ok_or("'%{' without '}'")?;
        if name.is_empty() {
            return Err("'%{}' names no claim".to_owned());
        }
        rule.push_str(before);
        rule.push('x');
        rest = after;
    }
    rule.push_str(rest);
    Granted::default().add(&rule)
}

/// A template with a token's claims put in; `None`: one of them is missing, or would reach further
/// than its level.
fn fill(template: &str, claims: &Value) -> Option<String> {
    let mut rule = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("%{") {
        let (name, after) = behind.split_once('}')?;
        let value = text(claims, name)?;
        // `%` would begin what stands for a name.
        if value.contains(['/', '+', '#', '%', '\0']) || value.trim() != value {
            return None;
        }
        rule.push_str(before);
        if value.starts_with('$') && (rule.is_empty() || rule.ends_with(' ')) {
            // It would be a rule for topics of the broker's own.
            return None;
        }
        rule.push_str(&value);
        rest = after;
    }
    rule.push_str(rest);
    Some(rule)
}

/// A claim, or one within another: `a.b`. Names of claims may have dots themselves, as in
/// `https://example.com/acl`.
fn find<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    if name.is_empty() {
        return None;
    }
    let direct = claims.get(name);
    let nested = || {
        let mut parts = name.split('.');
        parts.try_fold(claims, |value, part| value.get(part))
    };
    direct.or_else(nested).filter(|value| !value.is_null())
}

/// A claim as text that may be a name.
fn text(claims: &Value, name: &str) -> Option<String> {
    match find(claims, name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
    .filter(|text| !text.is_empty() && !text.chars().any(char::is_control))
}
