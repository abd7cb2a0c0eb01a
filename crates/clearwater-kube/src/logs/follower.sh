export LC_ALL=C
shopt -s nullglob
# Names of files are whatever somebody else made. Bash expands the subscript of an array once more in (( )), unset,
# -v and indirect words, and would run $(…) in a name: a name stands only in ${known[$p]}, known[$p]=… and the same of
# left and told, which expand it once, and everything else is kept by number.
#
# A process started by exec outlives a connection that is cut, and one that writes to it blocks: the pump writes, and
# this one ends both when it is no longer spoken to.
pump() {
  local since=$1 tail=$2 me=$BASHPID first=1 scanned=-1 next=0 z
  shift 2
  # By name: the number, or "done"; where it was left, as inode:offset:lines; that it was told to be left out.
  local -A known=() left=() told=()
  # By number.
  local -a path=() fd=() part=() heard=() swap=()
  local -a patterns=() folders=()
  local a p g f i n line rest busy quiet=0 d many=0
  exec {z}<> <(:)
  for a; do
    case $a in
    @*) a=${a#@} p=${a#*:*:*:}; left[$p]=${a%":$p"} ;;
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
  # What is not read is named once, in words that are one line whatever the name holds. Who makes a thousand of them is
  # told to make too many.
  omit() {
    [[ ${told[$2]-} ]] && return
    told[$2]=1
    many=$((many + 1))
    if ((many <= 20)); then
      printf 'S %s %q\n' "$1" "$2"
    elif ((many == 21)); then
      printf 'S more\n'
    fi
  }
  # Says up to which byte the lines that were sent reach: lines do not tell, because read leaves NUL bytes out.
  mark() {
    local word at
    read -r word at 2>/dev/null <"/proc/$me/fdinfo/${fd[$1]}" && printf 'P %s %s\n' "$1" "$at"
  }
  begin() {
    local p=$1 have inode size start=0 skip=0 word
    # Opening what is no regular file could wait for ever.
    [[ -f $p ]] || return
    { exec {f}<"$p"; } 2>/dev/null || return
    if [[ ! -f /proc/$me/fd/$f ]]; then
      exec {f}<&-
      return
    fi
    read -r inode size < <(stat -L -c '%i %s' "/proc/$me/fd/$f" 2>/dev/null)
    have=${left[$p]-}
    left[$p]=
    if [[ $have && ${have%%:*} == "$inode" ]]; then
      have=${have#*:}
      start=${have%:*} skip=${have#*:}
    elif ((first && tail >= 0)); then
      start=$((size - $(tail -n "$tail" "/proc/$me/fd/$f" 2>/dev/null | wc -c)))
    fi
    ((start < 0)) && start=0
    ((start > 0)) && dd bs=1 skip="$start" count=0 <&"$f" >/dev/null 2>&1
    if ((skip > 0)); then
      while ((skip-- > 0)) && IFS= read -r -u "$f" line; do :; done
      read -r word start 2>/dev/null <"/proc/$me/fdinfo/$f"
    fi
    path[next]=$p fd[next]=$f part[next]= heard[next]=$SECONDS swap[next]=0
    known[$p]=$next
    printf 'O %s %s %s %s\n' "$next" "$inode" "$start" "$p"
    next=$((next + 1)) quiet=0
  }
  # Closes a number; its name is then in the state that is given.
  end() {
    p=${path[$1]} f=${fd[$1]}
    exec {f}<&-
    printf 'C %s\n' "$1"
    known[$p]=$2
    unset "path[$1]" "fd[$1]" "part[$1]" "heard[$1]" "swap[$1]"
  }
  scan() {
    for g in "${patterns[@]}"; do
      for p in $g; do
        [[ -L $p && $g == *'*'* ]] && continue
        case ${p##*/} in
        *[!A-Za-z0-9._:+-]*)
          omit name "$p"
          continue
          ;;
        esac
        i=${known[$p]-}
        if [[ $i == done ]]; then
          continue
        elif [[ $i ]]; then
          ((swap[i])) || [[ $p -ef /proc/$me/fd/${fd[i]} ]] || swap[i]=1
        elif [[ ! -e $p ]]; then
          continue
        elif [[ ! -f $p ]]; then
          omit kind "$p"
        elif ((first && since > 0)) && (($(stat -L -c %Y "$p" 2>/dev/null || echo 0) < since)); then
          known[$p]=done
        else
          begin "$p"
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
    for i in "${!fd[@]}"; do
      f=${fd[i]} rest=${part[i]} n=0
      # A line without end neither fills the memory of the container nor keeps the others and the H waiting.
      while ((n++ < 1000)) && IFS= read -r -n 65536 -u "$f" line; do
        if ((${#line} == 65536)); then
          ((${#rest} < longest)) && rest+=$line
          continue
        fi
        printf '%s %s\n' "$i" "$rest$line"
        rest=
      done
      if ((n > 1000)); then
        busy=1
        part[i]=$rest heard[i]=$SECONDS
        [[ $rest ]] || mark "$i"
        continue
      fi
      ((${#rest} < longest)) && rest+=$line
      part[i]=$rest
      if ((n > 1)); then
        heard[i]=$SECONDS quiet=0
        [[ $rest ]] || mark "$i"
      fi
      p=${path[i]}
      if ((swap[i])) || [[ ! -e $p ]]; then
        # What is renamed may be written to for a moment longer.
        if ((swap[i]++ > 10)); then
          end "$i" ''
          begin "$p"
        fi
      elif ((SECONDS - heard[i] > 4000)) && [[ $p == *[0-9]T[0-9]*Z* ]]; then
        end "$i" done
      fi
    done
    if ((busy)); then
      quiet=0
    else
      ((quiet++ == 0)) && printf 'E\n'
      ((once)) && return
      read -r -t 0.1 -u "$z"
    fi
  done
}
# Comes back when nobody speaks to it any more.
listen() {
  local line
  while IFS= read -r -t 8 line; do :; done
}
once=$1
shift
# More of a line than whoever reads it keeps.
longest=1048576
if ((once)); then
  # The same watch, beside a pump that ends by itself. It holds no stream open that somebody waits for.
  {
    listen
    kill -KILL $$
  } <&0 >/dev/null 2>&1 &
  watch=$!
  pump "$@"
  kill -KILL "$watch"
  exit
fi
pump "$@" &
listen
kill -KILL $!
