//! What a softphone is set up with.

use secrecy::ExposeSecret;

use super::Subscriber;
use crate::names::named;
use crate::text::xml_escaped;

/// A softphone, or none in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Softphone {
    /// A file that Linphone reads by its remote provisioning.
    Linphone,
    /// The fields of Zoiper's form for an account.
    Zoiper,
    /// What any phone asks for.
    Text,
}

named!(
    /// Its name on a command line.
    Softphone, "phone" {
        Linphone = "linphone",
        Zoiper = "zoiper",
        Text = "text",
    }
);

/// How a phone is set up for a line. `proxy` is where it reaches Bono, as `HOST` or `HOST:PORT`; without one it looks for
/// the home domain's records in DNS. A password that is not known is left out.
pub fn settings(phone: Softphone, line: &Subscriber, proxy: Option<&str>) -> String {
    let password = line.password.as_ref().map_or("", |p| p.expose_secret());
    let domain = line.public_identity.domain();
    let proxy = proxy.unwrap_or(domain);
    match phone {
        Softphone::Linphone => linphone(line, password, proxy),
        Softphone::Zoiper => format!(
            "Username:                 {}\n\
             Password:                 {password}\n\
             Hostname or domain:       {domain}\n\
             Authentication username:  {}\n\
             Outbound proxy:           {proxy}\n\
             Transport:                TCP\n",
            line.number(),
            line.private_identity,
        ),
        Softphone::Text => format!(
            "SIP address (public identity):   {}\n\
             User name (private identity):    {}\n\
             Password:                        {password}\n\
             Domain, realm:                   {domain}\n\
             Outbound proxy:                  {proxy}, TCP or UDP\n",
            line.public_identity, line.private_identity,
        ),
    }
}

/// Linphone's remote provisioning (linphone `lpconfig.xsd`).
fn linphone(line: &Subscriber, password: &str, proxy: &str) -> String {
    let entry = |name: &str, value: &str| {
        format!("    <entry name=\"{name}\" overwrite=\"true\">{}</entry>\n", xml_escaped(value))
    };
    let domain = line.public_identity.domain();
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<config xmlns=\"http://www.linphone.org/xsds/lpconfig.xsd\">\n  \
         <section name=\"proxy_0\">\n",
    );
    text += &entry("reg_identity", line.public_identity.as_str());
    text += &entry("reg_proxy", &format!("<sip:{proxy};transport=tcp>"));
    text += &entry("reg_route", &format!("<sip:{proxy};transport=tcp;lr>"));
    text += &entry("reg_sendregister", "1");
    text += &entry("reg_expires", "300");
    text += "  </section>\n  <section name=\"auth_info_0\">\n";
    text += &entry("username", line.number());
    text += &entry("userid", &line.private_identity);
    // An empty one would take the phone's own away.
    if !password.is_empty() {
        text += &entry("passwd", password);
    }
    text += &entry("realm", domain);
    text += &entry("domain", domain);
    text += "  </section>\n</config>\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscriber::PublicIdentity;

    fn line() -> Subscriber {
        let public_identity = PublicIdentity::of("6505550000", "ims.example.com").unwrap();
        let private_identity = "6505550000@ims.example.com".to_owned();
        Subscriber { public_identity, private_identity, password: Some("pa<ss".into()) }
    }

    #[test]
    fn phones_are_set_up_each_in_its_own_way() {
        let all =
            Softphone::ALL.map(|phone| format!("--- {phone}\n{}", settings(phone, &line(), Some("192.0.2.7:5060"))));
        insta::assert_snapshot!(all.concat());
    }

    #[test]
    fn linphones_file_is_xml() {
        let text = settings(Softphone::Linphone, &line(), None);
        let document = roxmltree::Document::parse(&text).unwrap();
        let entry =
            |name: &str| document.descendants().find(|n| n.attribute("name") == Some(name)).and_then(|n| n.text());
        assert_eq!(entry("passwd"), Some("pa<ss"));
        assert_eq!(entry("reg_proxy"), Some("<sip:ims.example.com;transport=tcp>"));
    }
}
