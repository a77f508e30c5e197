//! Wrong usage as the grammar finds it, before a command runs.
//!
//! The format of an error must be known although the command line could not be read: it is looked for by itself.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::ValueEnum;
use clap::error::ErrorKind;

use crate::exit::{Failure, Kind};
use crate::format::Format;

/// Prints what clap has to say: help and versions on stdout, errors on stderr. The exit code.
pub fn report(error: &clap::Error) -> ExitCode {
    let format = requested_format(std::env::args_os().skip(1), std::env::var_os("LIGHTER_OUTPUT"));
    if error.use_stderr() && format != Format::Table {
        return failure(error).report(format);
    }
    // A reader that has gone does not want the text.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(Kind::Usage.exit_code()) } else { ExitCode::SUCCESS }
}

fn failure(error: &clap::Error) -> Failure {
    let hint = "`lighter --help` and `lighter COMMAND --help` show the usage";
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::new(Kind::Usage, "a command or an argument is missing").hint(hint);
    }
    // The first paragraph says what is wrong, further ones have tips and the usage.
    let text = error.render().to_string();
    let message = text.split("\n\n").next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: ")).map(str::to_owned);
    Failure::new(Kind::Usage, message).hint(tip.unwrap_or_else(|| hint.to_owned()))
}

/// The format that arguments or the environment ask for; the table if that is not clear.
fn requested_format(arguments: impl Iterator<Item = OsString>, environment: Option<OsString>) -> Format {
    let arguments: Vec<String> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    let arguments = arguments.iter().take_while(|argument| *argument != "--");
    let mut name = environment.map(|name| name.to_string_lossy().into_owned());
    let mut is_value = false;
    for argument in arguments {
        if is_value {
            name = Some(argument.clone());
            break;
        }
        let flags = argument.strip_prefix('-').filter(|flags| !flags.starts_with('-'));
        let short = flags.and_then(|flags| flags.trim_start_matches('q').strip_prefix('o'));
        is_value = argument == "--output" || short == Some("");
        let joined = argument.strip_prefix("--output=").or(short.filter(|value| !value.is_empty()));
        if let Some(value) = joined {
            name = Some(value.trim_start_matches('=').to_owned());
            break;
        }
    }
    name.and_then(|name| Format::from_str(&name, false).ok()).unwrap_or(Format::Table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_found_in_every_spelling() {
        check("status", None, Format::Table);
        check("-o json status", None, Format::Json);
        check("status -o jsonl --nonsense", None, Format::Jsonl);
        check("--nonsense --output json", None, Format::Json);
        check("--output=json nonsense", None, Format::Json);
        check("-ojson nonsense", None, Format::Json);
        check("-o=jsonl nonsense", None, Format::Jsonl);
        check("-qo json nonsense", None, Format::Json);
        check("-qojson nonsense", None, Format::Json);
        check("-o xml status", None, Format::Table);
        check("image show -- -o json", None, Format::Table);
        check("status", Some("json"), Format::Json);
        check("-o table status", Some("json"), Format::Table);
        check("--out json", None, Format::Table);
        check("--out o --memory much", Some("json"), Format::Json);
    }

    fn check(arguments: &str, environment: Option<&str>, expected: Format) {
        let found = requested_format(arguments.split(' ').map(OsString::from), environment.map(OsString::from));
        assert_eq!(found, expected, "{arguments:?}, {environment:?}");
    }
}
