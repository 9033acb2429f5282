from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitcar.modelkit.init.licence import identify

MIT = """\
MIT License

Copyright (c) 2024 Ada

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""
BSD_START = """\
Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this
   list of conditions and the following disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice,
   this list of conditions and the following disclaimer in the documentation
   and/or other materials provided with the distribution.

"""
BSD_NAMES = """\
3. Neither the name of the copyright holder nor the names of its
   contributors may be used to endorse or promote products derived from
   this software without specific prior written permission.

"""
BSD_END = """\
THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS"
AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE
FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER
CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY,
OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""
BY = "This data is given under https://creativecommons.org/licenses/by/4.0/"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MIT, "MIT"),
        (MIT.upper().replace("\n", "\r\n\t"), "MIT"),
        (MIT.replace("OTHER DEALINGS", "FURTHER DEALINGS"), ""),
        (MIT.replace("The above", "The software shall be used for Good, not Evil. The above"), ""),
        (MIT + "\nExcept as contained in this notice, the name of X shall not be used.", ""),
        (BSD_START + BSD_END, "BSD-2-Clause"),
        (BSD_START + BSD_NAMES + BSD_END, "BSD-3-Clause"),
        (BSD_START + BSD_END + "The views and conclusions contained in the software are mine.", ""),
        (MIT + BSD_START + BSD_END, ""),
        (MIT + MIT, ""),
        (BY, "CC-BY-4.0"),
        (BY + " and https://creativecommons.org/licenses/by/4.0/legalcode.", "CC-BY-4.0"),
        (BY + " and http://creativecommons.org/publicdomain/zero/1.0/", ""),
        ("See http://www.example.org/licenses/by/4.0/", ""),
        ("All rights reserved.", ""),
        ("", ""),
    ],
)
def test_identify_names_the_one_licence_a_text_is(text: str, expected: str) -> None:
    assert identify(text) == expected


@given(st.text())
def test_identify_of_any_text_guesses_nothing(text: str) -> None:
    assert identify(text) == ""
