//! A certificate authority of a test's own: made in memory, told to the program as a `ca_file`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Signs certificates for servers and clients. Its own certificate lies in a temporary folder for as long as it lives.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    /// A new authority (ECDSA P-256).
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names, so none is wrong");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "syncbell test authority");
        let key = KeyPair::generate().expect("could not make a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("could not sign");
        let folder = TempDir::new().expect("could not make a folder for the authority");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem())
            .expect("could not write the authority's certificate");
        Self { issuer, folder }
    }

    /// The authority's certificate as a PEM file: what goes into `ca_file`.
    pub fn ca_pem_path(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The same as text.
    pub fn ca_pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a server that is called by any of `names` (host names or IP addresses).
    pub fn issue(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let purpose = ExtendedKeyUsagePurpose::ServerAuth;
        self.sign("syncbell test server", names, purpose)
    }

    /// A certificate for a client, which a server knows by `name`: the subject is `CN=name`.
    pub fn issue_client(&self, name: &str) -> Identity {
        self.sign(name, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, name: &str, hosts: Vec<String>, purpose: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = CertificateParams::new(hosts).expect("not a host name or IP address");
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("could not make a key");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("could not sign");
        Identity { certificate, key }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A server's or client's certificate and key.
#[derive(Debug)]
pub struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Identity {
    /// What a rustls server needs; asks no certificate of its clients.
    pub fn server_config(&self) -> Arc<rustls::ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("rcgen writes PKCS#8");
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.der().clone()], key)
            .expect("certificate and key belong together");
        Arc::new(config)
    }

    /// The certificate, in PEM.
    pub fn cert_pem(&self) -> String {
        self.certificate.pem()
    }

    /// The key, PKCS#8 in PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Writes `cert.pem` and `key.pem` into `folder`, for programs that read files.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::write(folder.join("cert.pem"), self.cert_pem())?;
        std::fs::write(folder.join("key.pem"), self.key_pem())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_certificate_lies_where_it_says_until_it_is_dropped() {
        let authority = Authority::new();
        let path = authority.ca_pem_path();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), authority.ca_pem());
        authority.issue(&["localhost", "127.0.0.1"]).server_config();
        drop(authority);
        assert!(!path.exists());
    }
}
