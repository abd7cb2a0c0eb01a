//! Deployment files with the strictest Pod Security Standard that their pods keep to: what the renderer says, and what an API
//! server is asked end to end.

use clearwater::manifest::PodSecurity;

pub(crate) const LEVELS: [(&str, PodSecurity); 18] = [
    ("", PodSecurity::Baseline),
    ("release: classic\nimages: {registry: localhost/classic, tag: '2016'}\n", PodSecurity::Baseline),
    ("tailer: sidecar\n", PodSecurity::Baseline),
    ("bono: {exposure: hostPort}\n", PodSecurity::Privileged),
    ("bono: {exposure: loadBalancer, addresses: [192.0.2.1]}\n", PodSecurity::Baseline),
    ("bono: {exposure: nodePort, addresses: [192.0.2.1]}\n", PodSecurity::Baseline),
    ("securityContext: hardened\n", PodSecurity::Baseline),
    ("securityContext: hardened\nbono: {exposure: hostPort}\n", PodSecurity::Privileged),
    ("securityContext: {privileged: true}\n", PodSecurity::Privileged),
    ("components: {homer: {securityContext: {capabilities: {add: [NET_ADMIN]}}}}\n", PodSecurity::Privileged),
    ("components: {homer: {securityContext: {capabilities: {add: [SYS_CHROOT]}}}}\n", PodSecurity::Baseline),
    ("podSecurityContext: {seccompProfile: {type: Unconfined}}\n", PodSecurity::Privileged),
    ("podSecurityContext: {seccompProfile: {type: Unset}}\n", PodSecurity::Baseline),
    ("podSecurityContext: {sysctls: [{name: net.core.somaxconn, value: '1024'}]}\n", PodSecurity::Privileged),
    ("podSecurityContext: {sysctls: [{name: net.ipv4.tcp_syncookies, value: '1'}]}\n", PodSecurity::Baseline),
    ("securityContext: {seLinuxOptions: {type: spc_t}}\n", PodSecurity::Privileged),
    (
        "securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, runAsNonRoot: true}\n",
        PodSecurity::Restricted,
    ),
    (
        "podSecurityContext: {runAsNonRoot: true, runAsUser: 0}\n\
         securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}\n",
        PodSecurity::Baseline,
    ),
];
