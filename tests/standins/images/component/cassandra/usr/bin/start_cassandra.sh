#!/bin/bash
# Starts Cassandra and stays as long as its process lives. Two seconds pass before the first look, so supervisord
# counts even a start without a yaml as a good one and reports RUNNING.
trap '/etc/init.d/cassandra stop; exit 0' TERM INT

/etc/init.d/cassandra start
sleep 2 & wait $!
while [ -d "/proc/$(cat /var/run/cassandra/cassandra.pid 2> /dev/null)/cwd" ]
do
  sleep 0.5 & wait $!
done
exit 1000
