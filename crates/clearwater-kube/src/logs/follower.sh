export LC_ALL=C
shopt -s nullglob
# A process started by exec outlives a connection that is cut, and one that writes to it blocks: the pump writes, and
# this one ends both when it is no longer spoken to.
pump() {
  local since=$1 tail=$2 me=$BASHPID first=1 scanned=-1 next=0 z
  shift 2
  local -A fd=() id=() part=() heard=() at=() done=() swap=()
  local -a patterns=()
  local a p g f i s n line rest busy quiet=0 d
  local -a folders=()
  exec {z}<> <(:)
  for a; do
    case $a in
    @*) a=${a#@}; at[${a#*:*:}]=$a ;;
    *) patterns+=("$a") folders+=("${a%/*}") ;;
    esac
  done
  # A file that rolls is seen at once: its folder has changed since it was read, where the kernel says so.
  changed() {
    for d in "${folders[@]}"; do
      [[ -N $d ]] && return
    done
    return 1
  }
  begin() {
    local p=$1 size start=0 have
    { exec {f}<"$p"; } 2>/dev/null || return
    read -r i size < <(stat -L -c '%i %s' "/proc/$me/fd/$f" 2>/dev/null)
    have=${at[$p]-}
    unset "at[$p]"
    if [[ $have && ${have%%:*} == "$i" ]]; then
      have=${have#*:}
      start=${have%%:*}
    elif ((first && tail >= 0)); then
      start=$((size - $(tail -n "$tail" "$p" 2>/dev/null | wc -c)))
    fi
    ((start < 0)) && start=0
    ((start > 0)) && dd bs=1 skip="$start" count=0 <&"$f" >/dev/null 2>&1
    fd[$p]=$f id[$p]=$next part[$p]= heard[$p]=$SECONDS
    printf 'O %s %s %s %s\n' "$next" "$i" "$start" "$p"
    next=$((next + 1)) quiet=0
  }
  end() {
    f=${fd[$1]}
    exec {f}<&-
    printf 'C %s\n' "${id[$1]}"
    unset "fd[$1]" "id[$1]" "part[$1]" "heard[$1]" "swap[$1]"
  }
  scan() {
    for g in "${patterns[@]}"; do
      for p in $g; do
        [[ -L $p && $g == *'*'* ]] && continue
        if [[ ${fd[$p]-} ]]; then
          [[ $p -ef /proc/$me/fd/${fd[$p]} || ${swap[$p]-} ]] || swap[$p]=1
        elif [[ ! ${done[$p]-} ]]; then
          if ((first && since > 0)) && (($(stat -L -c %Y "$p" 2>/dev/null || echo 0) < since)); then
            done[$p]=1
          else
            begin "$p"
          fi
        fi
      done
    done
    first=0
  }
  while kill -0 $$ 2>/dev/null; do
    if ((SECONDS != scanned)); then
      scanned=$SECONDS
      scan
      printf 'H\n'
    elif changed; then
      scan
    fi
    busy=0
    for p in "${!fd[@]}"; do
      f=${fd[$p]} i=${id[$p]} n=0
      while ((n++ < 1000)) && IFS= read -r -u "$f" line; do
        printf '%s %s\n' "$i" "${part[$p]}$line"
        part[$p]=
      done
      if ((n > 1000)); then
        busy=1
        heard[$p]=$SECONDS
        continue
      fi
      part[$p]+=$line
      ((n > 1)) && heard[$p]=$SECONDS quiet=0
      if [[ ${swap[$p]-} || ! -e $p ]]; then
        # What is renamed may be written to for a moment longer.
        ((swap[$p]++ > 10)) && { end "$p"; begin "$p"; }
      elif ((SECONDS - heard[$p] > 4000)) && [[ $p == *[0-9]T[0-9]*Z* ]]; then
        done[$p]=1
        end "$p"
      fi
    done
    if ((busy)); then
      quiet=0
    else
      ((quiet++ == 0)) && printf 'E\n'
      ((once)) && exit 0
      read -r -t 0.1 -u "$z"
    fi
  done
}
once=$1
shift
if ((once)); then
  pump "$@"
  exit
fi
pump "$@" &
while IFS= read -r -t 8 line; do :; done
kill -KILL $!
