#!/bin/sh
# What a clone's PHP starts in place of sendmail: keeps the message in a file of its own and reports success.
# usage: sh capture-mail.sh DIRECTORY [sendmail's arguments, ignored]
set -eu
umask 077
mkdir -p "$1"
exec cat >"$(mktemp "$1/mail-XXXXXXXXXXXX")"
