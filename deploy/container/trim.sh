#!/bin/sh
# Remove the files that the programs never read from a site-packages folder: trim.sh FOLDER
# The Dockerfile runs it. tests/deploy/test_container.py runs the service from a trimmed folder.
set -eu
cd "$1"
# Tests of the packages, and packages that are only used to write tests or to build extensions.
find . -type d \( -name test -o -name tests \) -prune -exec rm -r {} +
rm -r numpy/distutils numpy/f2py numpy/testing numpy/_core/include numpy/_core/lib \
    sqlalchemy/testing alembic/testing
# Data of languages, countries and carriers that are not used. `holidays` needs its file US.mo.
rm -r babel/locale-data phonenumbers/geodata phonenumbers/carrierdata
find holidays/locale -type f ! -name US.mo -delete
find holidays/locale -type d -empty -delete
# Type stubs for type checkers, and the sources of compiled modules.
find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' \
    -o -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.a' \) -delete
# Debug symbols. numpy.libs is excluded: it has none, and the wheel builder rearranged its files.
find . -type f -name '*.so' ! -path './numpy.libs/*' -exec strip --strip-unneeded {} +
