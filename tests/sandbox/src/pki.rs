//! Keys and certificates for tests, made by openssl(1) in a folder of the sandbox.

use std::fs;

use crate::etcd::command;

const FOLDER: &str = "/run/pki";
const NEW_KEY: [&str; 6] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout"];

/// The path of a file: `NAME.pem` is a certificate, `NAME.key` its key.
#[must_use]
pub fn path(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

/// Makes a key and the certificate of a CA.
pub fn authority(name: &str) {
    fs::create_dir_all(FOLDER).unwrap();
    let (key, certificate, subject) =
        (path(&format!("{name}.key")), path(&format!("{name}.pem")), format!("/CN={name}"));
    let request = ["req", "-x509", "-days", "2", "-subj", &subject, "-out", &certificate];
    command("openssl", &[&request[..], &NEW_KEY, &[&key]].concat());
}

/// Makes a key and a certificate, as server and client, signed by a CA. With 0 days it has expired. `alternative`:
/// `IP:127.0.0.11`, `DNS:n1`.
pub fn certificate(name: &str, authority: &str, subject: &str, days: &str, alternative: &str) {
    let file = |end: &str| path(&format!("{name}.{end}"));
    let (key, request, signed, extensions) = (file("key"), file("csr"), file("pem"), file("ext"));
    fs::write(
        &extensions,
        format!("subjectAltName={alternative}\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n"),
    )
    .unwrap();
    let subject = format!("/CN={subject}");
    let new = ["req", "-new", "-subj", &subject, "-out", &request];
    command("openssl", &[&new[..], &NEW_KEY, &[&key]].concat());
    let (ca, ca_key) = (path(&format!("{authority}.pem")), path(&format!("{authority}.key")));
    let sign = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"];
    command("openssl", &[&sign[..], &["-days", days, "-extfile", &extensions, "-out", &signed]].concat());
}
