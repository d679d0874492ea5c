//! The database is deleted under live pods.

use std::fs;

use anyhow::{Result, ensure};
use e2e::ipam::Ipam;
use e2e::operations;
use tempfile::TempDir;

const PODS: usize = 50;

fn with_50_pods() -> Result<(TempDir, Ipam)> {
    let folder = tempfile::tempdir()?;
    let ipam = Ipam::new(folder.path().join("ipam"))?;
    ipam.apply("10.0.0.1-10.0.0.250")?.success()?;
    for pod in 0..PODS {
        ipam.add(&format!("c{pod}"))?.success()?;
    }
    ensure!(ipam.held()?.len() == PODS, "{:?}", ipam.held()?);
    Ok((folder, ipam))
}

#[test]
fn without_the_file_nothing_is_handed_out_and_every_del_succeeds() -> Result<()> {
    let (_folder, ipam) = with_50_pods()?;
    fs::remove_file(ipam.directory().join("ipam.redb"))?;
    let mut seen = Vec::new();
    let add = ipam.add("late")?;
    ensure!(add.error_code() == Some(103), "{add:?}");
    seen.extend(ipam.said("ADD", &add));
    for pod in 0..PODS {
        let del = ipam.del(&format!("c{pod}"))?;
        del.success()?;
        let said = ipam.said("DEL", &del);
        // A lease that is lost is said.
        ensure!(
            said.len() == 1 && said[0].contains(&format!("net/c{pod}/eth0 is gone")),
            "{said:?}"
        );
        seen.extend(said);
    }
    let status = ipam.status()?;
    ensure!(status.error_code() == Some(50), "{status:?}");
    seen.extend(ipam.said("STATUS", &status));
    let apply = ipam.apply("10.0.0.1-10.0.0.250")?;
    ensure!(!apply.status.success(), "apply began from empty: {apply:?}");
    seen.extend(ipam.told(&apply));
    let get = ipam.ipamctl(&["get", "ips"])?;
    ensure!(!get.status.success(), "{get:?}");
    seen.extend(ipam.told(&get));
    ensure!(!ipam.directory().join("ipam.redb").exists(), "something made a database");
    ensure!(ipam.add("late")?.error_code() == Some(103), "an address was handed out");
    operations::compare("The database is gone", &seen)
}

#[test]
fn without_the_whole_directory_nothing_is_handed_out_and_every_del_succeeds() -> Result<()> {
    let (_folder, ipam) = with_50_pods()?;
    fs::remove_dir_all(ipam.directory())?;
    let add = ipam.add("late")?;
    ensure!(add.error_code() == Some(101), "{add:?}");
    let mut seen = ipam.said("ADD", &add);
    for pod in 0..PODS {
        let del = ipam.del(&format!("c{pod}"))?;
        del.success()?;
        seen.extend(ipam.said("DEL", &del));
    }
    let status = ipam.status()?;
    ensure!(status.error_code() == Some(50), "{status:?}");
    seen.extend(ipam.said("STATUS", &status));
    let get = ipam.ipamctl(&["get", "ips"])?;
    ensure!(!get.status.success(), "{get:?}");
    seen.extend(ipam.told(&get));
    ensure!(!ipam.directory().exists(), "a plugin made the directory");
    operations::compare("The whole directory is gone", &seen)
}

#[test]
fn an_emptied_or_foreign_file_is_noticed_before_an_address_is_handed_out() -> Result<()> {
    let (_folder, ipam) = with_50_pods()?;
    let mut seen = Vec::new();
    for contents in [Vec::new(), vec![0x2a; 1 << 20]] {
        fs::write(ipam.directory().join("ipam.redb"), contents)?;
        let add = ipam.add("late")?;
        ensure!(add.error_code() == Some(103), "{add:?}");
        seen.extend(ipam.said("ADD", &add));
        let del = ipam.del("c7")?;
        del.success()?;
        seen.extend(ipam.said("DEL", &del));
        let apply = ipam.apply("10.0.0.1-10.0.0.250")?;
        ensure!(!apply.status.success(), "{apply:?}");
        seen.extend(ipam.told(&apply));
    }
    operations::compare("The database is damaged", &seen)
}
