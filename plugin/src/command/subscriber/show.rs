use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clearwater::subscriber::{Softphone, settings};
use http::uri::Authority;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use super::report::{Found, LineFormat};
use super::{AccountArgs, Which, chosen};
use crate::context::Context;
use crate::error::CliError;
use crate::exit;
use crate::runtime::{block_on, unless_ended};

/// Show one line, or how a softphone is set up for it
///
/// The password stands in what is shown where it was asked for with --passwords and is kept as text.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  kubectl clearwater subscriber show 6505550000
  kubectl clearwater subscriber show 6505550000 --phone linphone > phone.xml
  kubectl clearwater subscriber show 6505550000 --passwords --phone text --qr")]
pub(crate) struct Show {
    /// The number, or the whole public identity
    #[arg(value_name = "NUMBER|IDENTITY")]
    number: Which,
    /// Show the password, where homestead-prov keeps it as text
    #[arg(long)]
    passwords: bool,
    /// How this softphone is set up for the line
    #[arg(long, value_name = "PHONE", value_parser = phone())]
    phone: Option<Softphone>,
    /// Where a phone reaches Bono; without it the phone asks DNS for the home domain
    #[arg(long, value_name = "HOST[:PORT]", requires = "phone", value_parser = proxy)]
    proxy: Option<Authority>,
    /// As a picture that a phone's camera reads
    #[arg(long, requires = "phone")]
    qr: bool,
    #[command(flatten)]
    account: AccountArgs,
    /// The format
    #[arg(short, long, value_enum, default_value = "table", conflicts_with = "phone")]
    output: LineFormat,
}

fn proxy(text: &str) -> Result<Authority, String> {
    text.parse()
        .ok()
        .filter(|at: &Authority| {
            let rest = at.as_str().strip_prefix(at.host());
            // A port that is none reads as if there were no port.
            !at.host().is_empty() && rest.is_some_and(|rest| rest.is_empty() || at.port_u16().is_some_and(|p| p > 0))
        })
        .ok_or_else(|| "it is not HOST or HOST:PORT, as in 192.0.2.7:5060 or [2001:db8::7]".to_owned())
}

fn phone() -> impl clap::builder::TypedValueParser<Value = Softphone> {
    PossibleValuesParser::new(Softphone::ALL.map(Softphone::name)).try_map(|name: String| name.parse::<Softphone>())
}

impl Show {
    pub(crate) fn run(self, context: &mut Context) -> Result<u8, CliError> {
        let says = self.output == LineFormat::Table && self.phone.is_none();
        let namespace = self.account.place.namespace(context, says)?;
        let signals = context.signals();
        block_on(unless_ended(&signals, async {
            if matches!(&self.number, Which::Numbers(numbers) if numbers.count() != 1) {
                return Err(CliError::Usage("one number is shown; subscriber list shows several".to_owned()));
            }
            let subscribers = self.account.open(context, namespace.clone()).await?;
            let (lines, missing) = chosen(&subscribers, std::slice::from_ref(&self.number)).await?;
            if let Some(identity) = missing.first() {
                let account = &self.account.account;
                return Err(CliError::Unready(format!(
                    "{identity}: there is no such line of account {account}; subscriber list shows those that there are"
                )));
            }
            let mut found = Found { namespace, account: self.account.account.clone(), lines, problems: Vec::new() };
            if self.passwords {
                super::password::look_up(&subscribers, &mut found).await?;
            }
            let (Some(phone), Some(line)) = (self.phone, found.lines.first()) else {
                found.write(context, &subscribers, self.output)?;
                return Ok(exit::OK);
            };
            let text = settings(phone, line, self.proxy.as_ref().map(Authority::as_str));
            for problem in &found.problems {
                context.talk().warning(problem);
            }
            if self.qr {
                context.results().text(&picture(&text)?)?;
            } else {
                context.results().text(&text)?;
            }
            Ok(exit::OK)
        }))
    }
}

fn picture(text: &str) -> Result<String, CliError> {
    let code = QrCode::new(text).map_err(|e| CliError::Refused(format!("no picture can hold this much text: {e}")))?;
    // Dark letters on a dark screen would be the picture's negative, which most cameras read as well.
    let mut picture = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    picture.push('\n');
    Ok(picture)
}
