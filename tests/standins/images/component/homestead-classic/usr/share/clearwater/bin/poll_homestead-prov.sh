#!/bin/bash
# 0 when the first line of /ping is exactly OK within two seconds; /ping waits for Cassandra.
answer=$(curl --silent --max-time 2 http://127.0.0.1:8889/ping | head -1)
[ "$answer" = OK ]
