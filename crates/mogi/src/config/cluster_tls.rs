//! Options of TLS between brokers, and what they come to.

use super::Config;
use crate::broker::plan::TlsPlan;
use crate::cluster::SecurePlan;
use mogi_transport::tls_config::TlsRules;
use std::path::PathBuf;

/// What the files say about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClusterTls {
    pub(crate) ca_file: Option<String>,
    pub(crate) cert_file: Option<String>,
    pub(crate) key_file: Option<String>,
    pub(crate) insecure: bool,
}

/// How links are secured, if they are.
///
/// # Errors
/// One of the files is not named: a line for the log.
pub(super) fn secure_plan(config: &Config) -> Result<Option<SecurePlan>, String> {
    let ClusterTls { ca_file, cert_file, key_file, insecure } = &config.cluster.tls;
    let files = [
        ("cluster_cafile", ca_file),
        ("cluster_certfile", cert_file),
        ("cluster_keyfile", key_file),
    ];
    let named = files.iter().filter(|(_, file)| file.is_some()).count();
    let missing = files.iter().find(|(_, file)| file.is_none());
    if let Some((missing, _)) = missing.filter(|_| named > 0) {
        return Err(format!(
            "Error: cluster_cafile, cluster_certfile and cluster_keyfile belong together, but \
             {missing} is not set: each broker shows the others a certificate of their common \
             authority, and wants to see one of theirs."
        ));
    }
    let (Some(cafile), Some(certfile), Some(keyfile)) = (ca_file, cert_file, key_file) else {
        return Ok(None);
    };
    let rules = TlsRules { only_tls13: true, require_certificate: true, ..TlsRules::default() };
    let files = TlsPlan {
        prefix: "cluster_",
        certfile: PathBuf::from(certfile),
        keyfile: PathBuf::from(keyfile),
        cafile: Some(PathBuf::from(cafile)),
        capath: None,
        crlfile: None,
        rules,
    };
    Ok(Some(SecurePlan { files, insecure: *insecure }))
}
