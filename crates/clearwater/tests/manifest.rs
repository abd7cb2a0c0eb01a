//! The objects of deployments: golden files, and what must hold for all of them.

use clearwater::config::DeploymentFile;
use clearwater::manifest::{Inputs, render};

fn file(text: &str) -> DeploymentFile {
    DeploymentFile::parse(&format!("apiVersion: clearwater/v1\n{text}"), "clearwater.yaml").unwrap()
}

#[test]
fn golden() {
    let d = file("").deploy("ims").unwrap();
    let m = render(&d, &Inputs::default()).unwrap();
    println!("{}", m.to_yaml().unwrap());
}
