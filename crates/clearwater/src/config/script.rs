use super::Deployment;
use super::generator::etcd_proxy;
use super::setting::Setting;
use super::shell::quote;
use crate::component::Release;

/// Where the auto-config script looks for the images' own generator, which it runs first.
///
/// The script takes the place of `/etc/init.d/clearwater-auto-config-docker`; whoever puts it there moves what was
/// there to this path. Where nothing is found the script does the generator's work itself.
pub const ORIGINAL_AUTO_CONFIG: &str = "/etc/init.d/clearwater-auto-config-docker.image";

const HEAD: &str = r#"#!/bin/sh
# Completes the container's configuration with what the image's own generator does not know.
# Secrets come from the environment. Running it again changes nothing.

dir=${CLEARWATER_CONFIG_DIR:-/etc/clearwater}
image_generator=${CLEARWATER_IMAGE_GENERATOR:-@ORIGINAL@}
resolv_conf=${CLEARWATER_RESOLV_CONF:-/etc/resolv.conf}
chronos=${CLEARWATER_CHRONOS_DIR:-/etc/chronos}
newline='
'

case "${1:-start}" in
  start|restart|reload|force-reload) ;;
  status|stop) exit 0 ;;
  *) echo "Usage: $0 {start|stop|status|restart|force-reload}" >&2; exit 3 ;;
esac

fail() {
  echo "auto-config: $1" >&2
  exit 1
}

# quote TEXT: prints it in single quotes
quote() {
  rest=$1
  out=
  while :; do
    case $rest in
      *\'*) out="$out${rest%%\'*}'\\''"; rest=${rest#*\'} ;;
      *) break ;;
    esac
  done
  printf "'%s'" "$out$rest"
}

# put FILE KEY VALUE: sets the key where it first stands, or at the end
put() {
  case $3 in *"$newline"*) fail "the value of $2 has more than one line; correct it at its source" ;; esac
  assignment="$2=$(quote "$3")"
  found=
  [ -e "$1" ] || : >"$1" || fail "cannot write $1"
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
      "$2="*) [ -n "$found" ] || printf '%s\n' "$assignment"; found=1 ;;
      *) printf '%s\n' "$line" ;;
    esac
  done <"$1" >"$1.new" || fail "cannot write $1.new"
  [ -n "$found" ] || printf '%s\n' "$assignment" >>"$1.new"
  cat "$1.new" >"$1" && rm -f "$1.new" || fail "cannot write $1"
}

# drop FILE TEXT: deletes the lines that have the text
drop() {
  [ -e "$1" ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in *"$2"*) ;; *) printf '%s\n' "$line" ;; esac
  done <"$1" >"$1.new" && cat "$1.new" >"$1" && rm -f "$1.new" || fail "cannot write $1"
}

if [ -x "$image_generator" ]; then
  "$image_generator" "${1:-start}" || fail "$image_generator failed"
else
  ip=${MY_POD_IP:-}
  if [ -z "$ip" ]; then
    for address in $(hostname -I); do
      case $address in *:*) : "${ip:=$address}" ;; *) ip=$address; break ;; esac
    done
  fi
  [ -n "$ip" ] || fail "the pod has no address"
  put "$dir/local_config" local_ip "$ip"
  put "$dir/local_config" public_ip "${PUBLIC_IP:-$ip}"
  put "$dir/local_config" public_hostname "${PUBLIC_IP:-$ip}"
  drop "$dir/local_config" etcd_cluster=
  put "$dir/local_config" etcd_proxy @ETCD@
  servers=
  while read -r word server rest || [ -n "$word" ]; do
    [ "$word" != nameserver ] || servers=$servers${servers:+,}$server
  done <"$resolv_conf"
  [ -z "$servers" ] || put "$dir/shared_config" signaling_dns_server "$servers"
  if [ -e "$chronos/chronos.conf.sample" ]; then
    [ -e "$chronos/chronos.conf" ] || cp "$chronos/chronos.conf.sample" "$chronos/chronos.conf"
    if [ -n "$servers" ] && ! grep -q '^\[dns\]' "$chronos/chronos.conf"; then
      printf '\n[dns]\nservers=%s\n' "$servers" >>"$chronos/chronos.conf"
    fi
    sed -i "s/bind-address = 0.0.0.0/bind-address = $ip/" "$chronos/chronos.conf"
  fi
fi

shared=$dir/shared_config
"#;

/// The auto-config script of the classic release.
///
/// It is POSIX shell, runs the images' own generator first, and then sets what that does not know: sub-domain URIs with
/// ports, keys, log level, aliases. Values that are known stand in it quoted; secrets are read from the environment
/// when it runs, those that the container is given.
pub(super) fn auto_config(deployment: &Deployment, settings: &[(String, Setting)]) -> String {
    debug_assert_eq!(deployment.release(), Release::Classic, "hunter takes ADDITIONAL_SHARED_CONFIG");
    let mut script = HEAD.replace("@ORIGINAL@", ORIGINAL_AUTO_CONFIG).replace("@ETCD@", &etcd_proxy());
    if deployment.file().hss.is_some() {
        script.push_str("drop \"$shared\" hs_provisioning\n");
    }
    for (key, setting) in settings {
        match setting {
            Setting::Text(text) => script.push_str(&format!("put \"$shared\" {key} {}\n", quote(text))),
            // Only who reads it is given it: the kubelet starts no container whose Secret lacks the key.
            Setting::Secret { variable, .. } => {
                script.push_str(&format!("[ -z \"${{{variable}+set}}\" ] || put \"$shared\" {key} \"${variable}\"\n"));
            }
        }
    }
    script
}
