module kitcar.test/oras

go 1.25.7

require oras.land/oras v1.3.3
