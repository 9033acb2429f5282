module kitcar.test/kit

go 1.25.7

require github.com/kitops-ml/kitops v1.15.0
