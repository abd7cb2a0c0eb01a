#!/bin/bash
# liveness.sh "PORT ..." [SECONDS]: each TCP port of the pod's own address must accept a connection.
ports=$1
timeout=${2:-5}
ip=${MY_POD_IP:-127.0.0.1}

for port in $ports
do
  echo "Testing port $port"
  nc -n -z -w "$timeout" "$ip" "$port" || exit $?
  echo "port $port OK"
done
echo "All ports OK"
