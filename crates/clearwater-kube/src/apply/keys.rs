use clearwater::config::Keys;

/// Keys as `up` makes them for a new deployment: 128 random bits each.
///
/// # Errors
/// A machine that gives no random numbers.
pub fn random_keys() -> Result<Keys, getrandom::Error> {
    let key = || {
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes)?;
        Ok::<_, getrandom::Error>(bytes.iter().fold(String::new(), |mut text, b| {
            let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{b:02x}"));
            text
        }))
    };
    Ok(Keys { signup_key: key()?, turn_workaround: key()?, ellis_api_key: key()?, ellis_cookie_key: key()? })
}
