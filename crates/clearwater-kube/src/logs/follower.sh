export LC_ALL=C TZ=UTC0
shopt -s nullglob
# Names of files are whatever somebody else made. Bash expands the subscript of an array once more in (( )), unset,
# -v and indirect words, and would run $(…) in a name: a name stands only in ${known[$p]}, known[$p]=… and the same of
# left and told, which expand it once, and everything else is kept by number.
#
# A process started by exec outlives a connection that is cut, and one that writes to it blocks: the pump writes, and what
# it starts, and this one ends them all when it is no longer spoken to.
#
# Bash takes a third of a second of the processor for a megabyte of lines. So it reads a few lines itself, which costs less than a
# process, and where there are more, hands the file on as it is: "B number count end", and count bytes, up to the byte end
# of the file.
pump() {
  local since=$1 tail=$2 me=$BASHPID first=1 scanned=-1 next=0 bulk=0 clock=
  shift 2
  # By name: the number, or "done"; where it was left, as inode:offset:lines; that it was told to be left out.
  local -A known=() left=() told=()
  # By number.
  local -a path=() fd=() part=() heard=() swap=() goal=() few=()
  local -a patterns=() folders=()
  local a p g f i n line rest busy pause quiet=0 d many=0 word when size
  if type -P head >/dev/null && type -P stat >/dev/null; then
    bulk=1
  fi
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
  # Sends as bytes what was begun of a line, and then what the file holds by now, or the next piece of that.
  block() {
    local f=${fd[$1]} rest=$2 word at end=0 n size=0
    read -r word at 2>/dev/null <"/proc/$me/fdinfo/$f"
    if ((goal[$1] <= at)); then
      read -r size < <(stat -L -c %s "/proc/$me/fd/$f" 2>/dev/null)
      goal[$1]=$size
    fi
    n=$((goal[$1] - at))
    ((n < 0)) && n=0
    if ((n > piece)); then
      n=$piece
    else
      goal[$1]=0
    fi
    # Two processes cost as much as some hundred lines: a file that has more each time is not read by lines before.
    few[$1]=$((n > (few[$1] < some ? 12288 : 4096) ? 4 : some))
    # What is written from now on is let gather, so that it takes these two processes three times a second at most.
    pause=0.3 quiet=0
    ((goal[$1] || once)) && busy=1
    printf 'B %s %s %s\n%s' "$1" "$((n + ${#rest}))" "$((at + n))" "$rest"
    ((n)) || return
    head -c "$n" <&"$f" 2>/dev/null
    # What became shorter meanwhile has nothing in the place of what is gone.
    read -r word end 2>/dev/null <"/proc/$me/fdinfo/$f"
    n=$((n - (end - at)))
    ((n > 0)) && head -c "$n" /dev/zero
  }
  # The first line behind a byte of a file, and before another, that tells its time: where it begins and when it was
  # written, as at and when; at is -1 where there is none.
  probe() {
    local g word line n=0 from
    at=-1
    { exec {g}<"/proc/$me/fd/$1"; } 2>/dev/null || return
    dd bs=1 skip="$2" count=0 <&"$g" >/dev/null 2>&1
    IFS= read -r -u "$g" -n 65536 line
    while ((n++ < 1000)); do
      read -r word from 2>/dev/null <"/proc/$me/fdinfo/$g"
      ((from < $3)) && IFS= read -r -n 65536 -u "$g" line || break
      if [[ $line =~ $of_daemon ]]; then
        when=${BASH_REMATCH[3]}${BASH_REMATCH[2]}${BASH_REMATCH[1]}${BASH_REMATCH[4]}${BASH_REMATCH[5]}${BASH_REMATCH[6]} at=$from
        break
      elif [[ $line =~ $of_others ]]; then
        when=${BASH_REMATCH[2]}${BASH_REMATCH[3]}${BASH_REMATCH[4]}${BASH_REMATCH[5]}${BASH_REMATCH[6]}${BASH_REMATCH[7]} at=$from
        break
      fi
    done
    exec {g}<&-
  }
  # Finds by halves where what is older than since ends, up to a piece that is read in vain; where lines tell no time, it is
  # the beginning. Whoever reads leaves out what is too old.
  seek() {
    local low=0 high=$2 middle at when
    while ((high - low > 262144)); do
      middle=$(((low + high) / 2))
      probe "$1" "$middle" "$high"
      if ((at >= 0)) && [[ $when < $wanted ]]; then
        low=$at
      else
        high=$middle
      fi
    done
    ((low > start)) && start=$low
  }
  # Opens a file, from where it was left, from a byte, or from where what is wanted of it begins.
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
    if [[ ! $have ]] && ((first && since > 0)); then
      if [[ ${2-} ]]; then
        start=$2
      else
        seek "$f" "$size"
      fi
    fi
    ((start > 0)) && dd bs=1 skip="$start" count=0 <&"$f" >/dev/null 2>&1
    if ((skip > 0)); then
      while ((skip-- > 0)) && IFS= read -r -u "$f" line; do :; done
      read -r word start 2>/dev/null <"/proc/$me/fdinfo/$f"
    fi
    path[next]=$p fd[next]=$f part[next]= heard[next]=$SECONDS swap[next]=0 goal[next]=0 few[next]=$some
    # Of a few lines it is not.
    ((bulk && size - start > 8192)) && goal[next]=$size
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
    unset "path[$1]" "fd[$1]" "part[$1]" "heard[$1]" "swap[$1]" "goal[$1]" "few[$1]"
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
        elif ((first && since > 0)) && read -r when size < <(stat -L -c '%Y %s' "$p" 2>/dev/null) && ((when < since)); then
          # All of it is too old. What rolls by the hour is not written to again later; anything else may be.
          if ((once)) || { [[ $p == *[0-9]T[0-9]*Z* ]] && ((since - when > 4000)); }; then
            known[$p]=done
          else
            begin "$p" "$size"
          fi
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
      printf 'H %s\n' "$clock"
    elif changed; then
      scan
    fi
    busy=0 pause=0.1
    for i in "${!fd[@]}"; do
      f=${fd[i]} rest=${part[i]} n=0
      if ((goal[i])); then
        part[i]= heard[i]=$SECONDS
        block "$i" "$rest"
        continue
      fi
      # A line without end neither fills the memory of the container nor keeps the others and the H waiting.
      while ((n++ < few[i])) && IFS= read -r -n 65536 -u "$f" line; do
        if ((${#line} == 65536)); then
          ((${#rest} < longest)) && rest+=$line
          continue
        fi
        printf '%s %s\n' "$i" "$rest$line"
        rest=
      done
      if ((n > few[i])); then
        heard[i]=$SECONDS
        if ((bulk)); then
          block "$i" "$rest"
          rest=
        else
          busy=1
          [[ $rest ]] || mark "$i"
        fi
        part[i]=$rest
        continue
      fi
      ((${#rest} < longest)) && rest+=$line
      if ((bulk && ${#rest} > 65536)); then
        block "$i" "$rest"
        rest=
      fi
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
      read -r -t $pause -u "$z" word && clock=$word
    fi
  done
}
# Comes back when nobody speaks to it any more. Whoever does says what time it is: how far this clock is from it is handed
# to the pump, which tells it with its marks, so that a line that comes late is not taken for one of a wrong clock.
listen() {
  local line now told=
  while IFS= read -r -t 8 line; do
    [[ $line =~ ^[1-9][0-9]{0,11}$ ]] || continue
    printf -v now '%(%s)T' -1
    now=$((now - line))
    # Seconds are whole ones: one more or less is none.
    [[ $told ]] && ((now - told <= 1 && told - now <= 1)) && continue
    told=$now
    printf '%s\n' "$told" >&"$z"
  done
}
once=$1
shift
# More of a line than whoever reads it keeps, and as much as is sent at once.
longest=1048576 piece=1048576
# How many lines are read before something else has its turn.
some=250
# When a line was written: the daemons' lines, and those of Python, supervisord and Cassandra.
of_daemon='^([0-9]{2})-([0-9]{2})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2})[.]'
of_others='^([A-Z]+ +\[[^]]*\] )?([0-9]{4})-([0-9]{2})-([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})[,.]'
printf -v wanted '%(%Y%m%d%H%M%S)T' "$1"
exec {z}<> <(:)
# The pump is a group of processes with what it starts, which is ended with it.
set -m
pump "$@" &
pump=$!
if ((once)); then
  # The same watch, beside a pump that ends by itself. It holds no stream open that somebody waits for.
  {
    listen
    kill -KILL -- "-$pump"
  } <&0 >/dev/null 2>&1 &
  watch=$!
  wait "$pump"
  kill -KILL -- "-$watch"
  exit
fi
listen
kill -KILL -- "-$pump"
