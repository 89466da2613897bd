//! TLS by rustls and ring: the files, and in words what is wrong with a certificate.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore, crypto::ring};

use crate::config::{Identity, Tls};

/// Reads the files. What a file contains is in no error.
pub(crate) fn connector(tls: &Tls) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.ca)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", tls.ca.display()))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let mut config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
            let bytes = read(key)?;
            let private = PrivateKeyDer::from_pem_slice(&bytes)
                .map_err(|_| format!("{} has no private key in PEM", key.display()))?;
            builder.with_client_auth_cert(certificates(certificate)?, private).map_err(|error| {
                format!("{} and {} do not belong together: {error}", certificate.display(), key.display())
            })?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("read {}: {error}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|_| format!("{} is not valid PEM", path.display()))?;
    if found.is_empty() {
        return Err(format!("{} has no certificate in PEM", path.display()));
    }
    Ok(found)
}

/// What a TLS error means, with the cure.
pub(crate) fn explain(error: &Error, tls: &Tls, host: &str) -> String {
    match error {
        Error::InvalidCertificate(reason) => refused_by_us(reason, tls, host),
        Error::AlertReceived(alert) => refused_by_server(&format!("{alert:?}"), tls),
        Error::InvalidMessage(_) => {
            "it does not speak TLS: write http:// instead of https://, or give it a certificate".into()
        }
        error => error.to_string(),
    }
}

fn refused_by_us(reason: &CertificateError, tls: &Tls, host: &str) -> String {
    let ca = tls.ca.display();
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired: renew it there, or set this machine's clock".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: look at the clocks".into()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!(
                "the server's certificate is signed by none of those in {ca}: is it another cluster, or an old file?"
            )
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "the server's certificate is not for {host}: use a name or an address that it has, or renew it"
            )
        }
        reason => format!("the server's certificate is refused: {reason}"),
    }
}

/// What an alert of the server means, by rustls' name of it.
pub(crate) fn refused_by_server(alert: &str, tls: &Tls) -> String {
    let Some(Identity { certificate, .. }) = &tls.client else {
        return format!("the server refuses ({alert}); it may want a client certificate");
    };
    let file = certificate.display();
    match alert {
        "CertificateExpired" => format!("the server refuses {file}, which has expired: renew it"),
        "UnknownCA" => {
            format!("the server refuses {file}: none whom it trusts has signed it (--trusted-ca-file)")
        }
        alert => format!(
            "the server refuses {file} ({alert}): it has expired, is not for clients, or is signed by none whom the \
             server trusts; openssl x509 -noout -dates -issuer -ext extendedKeyUsage -in {file} shows it"
        ),
    }
}
