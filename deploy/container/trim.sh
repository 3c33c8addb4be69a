#!/bin/sh
# Remove what the programs never read from a site-packages folder: trim.sh FOLDER
# The Dockerfile runs it, and tests/deploy/test_container.py runs the service from a folder it has trimmed.
set -eu
cd "$1"
# Tests of the packages, and packages that only help to write tests or to build extensions.
find . -type d \( -name test -o -name tests \) -prune -exec rm -r {} +
rm -r numpy/distutils numpy/f2py numpy/testing numpy/_core/include numpy/_core/lib \
    sqlalchemy/testing alembic/testing
# Data of other languages, countries and carriers. `holidays` needs its file for the United States.
rm -r babel/locale-data phonenumbers/geodata phonenumbers/carrierdata
find holidays/locale -type f ! -name US.mo -delete
find holidays/locale -type d -empty -delete
# Types for checkers, and the sources of what is compiled.
find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' \
    -o -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.a' \) -delete
# Symbols for debuggers. numpy.libs has none, and its files were rearranged by the wheel's builder.
find . -type f -name '*.so' ! -path './numpy.libs/*' -exec strip --strip-unneeded {} +
