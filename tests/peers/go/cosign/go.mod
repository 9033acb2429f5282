module kitcar.test/cosign

go 1.25.7

require github.com/sigstore/cosign/v3 v3.1.3
