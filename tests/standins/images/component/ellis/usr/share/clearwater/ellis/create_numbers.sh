#!/bin/bash
# Creates the 1000 numbers once the database answers, trying until it does.
until [ -e /var/run/mysqld/mysqld.sock ] && touch /var/lib/mysql/ellis/numbers
do
  sleep 1
done >> /var/log/create_numbers.log 2>&1
echo "Created 1000 numbers" >> /var/log/create_numbers.log
