//! Challenges: what a registry demands in `WWW-Authenticate`.
//!
//! The grammar is that of RFC 9110 (section 11.6.1): challenges in a list, each a scheme with a token68 or parameters,
//! whose values are tokens or quoted strings. One header may have several challenges, and commas separate both these
//! and parameters. A header outside the grammar, or over a limit, is refused as a whole: nothing of it is believed.

/// The longest header. Real ones have about 200 bytes.
pub const HEADER_BYTES_MAX: usize = 8 << 10;
/// The most challenges in all headers of an answer.
pub const CHALLENGES_MAX: usize = 8;
/// The most parameters of a challenge.
pub const PARAMETERS_MAX: usize = 16;

/// One challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme in lower case.
    pub scheme: String,
    /// Parameters; the names are in lower case, and each is there once.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The challenges of a `WWW-Authenticate` header. `None` for a header outside the grammar or over a limit.
pub fn parse_challenges(header: &[u8]) -> Option<Vec<Challenge>> {
    if header.len() > HEADER_BYTES_MAX {
        return None;
    }
    let mut scanner = Scanner { rest: header };
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        scanner.skip_commas();
        if scanner.rest.is_empty() {
            return Some(challenges);
        }
        let word = scanner.token()?;
        let had_space = scanner.skip_spaces();
        match (scanner.take_sign(b'='), challenges.last_mut()) {
            (true, Some(challenge)) => {
                scanner.skip_spaces();
                let value = scanner.value()?;
                let is_repeated = challenge.parameter(&word).is_some();
                if is_repeated || challenge.parameters.len() >= PARAMETERS_MAX {
                    return None;
                }
                challenge.parameters.push((word, value));
                scanner.end_of_item()?;
            }
            (true, None) => return None,
            (false, _) => {
                if challenges.len() >= CHALLENGES_MAX {
                    return None;
                }
                challenges.push(Challenge { scheme: word, parameters: Vec::new() });
                if had_space {
                    scanner.skip_token68();
                } else {
                    scanner.end_of_item()?;
                }
            }
        }
    }
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl Scanner<'_> {
    fn skip_while(&mut self, accepts: impl Fn(u8) -> bool) -> usize {
        let count = self.rest.iter().take_while(|byte| accepts(**byte)).count();
        self.rest = &self.rest[count..];
        count
    }

    fn skip_commas(&mut self) {
        self.skip_while(|byte| matches!(byte, b',' | b' ' | b'\t'));
    }

    fn skip_spaces(&mut self) -> bool {
        self.skip_while(|byte| matches!(byte, b' ' | b'\t')) > 0
    }

    fn take_sign(&mut self, sign: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == sign => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// A token in lower case.
    fn token(&mut self) -> Option<String> {
        let whole = self.rest;
        let count = self.skip_while(is_token);
        let text = std::str::from_utf8(&whole[..count]).ok()?;
        (count > 0).then(|| text.to_ascii_lowercase())
    }

    /// A parameter's value: a token as it is, or a quoted string without its quotes.
    fn value(&mut self) -> Option<String> {
        if !self.take_sign(b'"') {
            let whole = self.rest;
            let count = self.skip_while(is_token);
            return (count > 0).then(|| String::from_utf8_lossy(&whole[..count]).into_owned());
        }
        let mut value = Vec::new();
        loop {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            match byte {
                b'"' => return String::from_utf8(value).ok(),
                b'\\' => {
                    let (&escaped, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    value.push(visible(escaped)?);
                }
                byte => value.push(visible(byte)?),
            }
        }
    }

    /// A parameter or a scheme ends at a comma or at the end of the header.
    fn end_of_item(&mut self) -> Option<()> {
        self.skip_spaces();
        matches!(self.rest, [] | [b',', ..]).then_some(())
    }

    /// Behind a scheme stand parameters, or one token68. No registry uses one, so its value is dropped.
    fn skip_token68(&mut self) {
        let is_token68 = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
        let before = self.rest;
        let count = self.skip_while(is_token68) + self.skip_while(|byte| byte == b'=');
        if count == 0 || self.end_of_item().is_none() {
            self.rest = before;
        }
    }
}

/// A character of a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A character of a quoted string: no control character but the tab.
fn visible(byte: u8) -> Option<u8> {
    (byte == b'\t' || (byte >= b' ' && byte != 0x7f)).then_some(byte)
}

#[cfg(test)]
mod tests;
