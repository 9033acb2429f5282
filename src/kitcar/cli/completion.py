"""`kitcar completion SHELL`: the script that makes a shell ask kitcar what may follow."""

from __future__ import annotations

import click

from kitcar.cli.session import Session
from kitcar.cli.verb import Arity, Usage, verb
from kitcar.errors import InvalidError
from kitcar.flags.flag import Call

# The words are split anew from the line, since bash breaks words at the colons and equals signs of references and flags.
_BASH = r"""# bash completion for kitcar
_kitcar() {
    local line="${COMP_LINE:0:COMP_POINT}" word candidate prefix
    local -a words
    read -ra words <<< "$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    word="${words[${#words[@]}-1]}"
    # What bash takes to be the current word begins behind the last break character.
    prefix="${word%"${word##*[:=@]}"}"
    COMPREPLY=()
    while IFS=$'\t' read -r candidate _; do
        case "$candidate" in
            :files) compopt -o default; COMPREPLY=(); return ;;
            :directories) compopt -o dirnames; COMPREPLY=(); return ;;
            :nospace) compopt -o nospace ;;
            "$word"*) COMPREPLY+=("${candidate#"$prefix"}") ;;
        esac
    done < <("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
}
complete -F _kitcar kitcar
"""
_ZSH = r"""#compdef kitcar
_kitcar() {
    local -a found options
    local candidate description
    while IFS=$'\t' read -r candidate description; do
        case "$candidate" in
            :files) _files; return ;;
            :directories) _files -/; return ;;
            :nospace) options=(-S '') ;;
            *) found+=("${candidate//:/\\:}${description:+:$description}") ;;
        esac
    done < <("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    _describe 'kitcar' found "${options[@]}"
}
if [ "$funcstack[1]" = "_kitcar" ]; then
    _kitcar "$@"
else
    compdef _kitcar kitcar
fi
"""
_FISH = r"""# fish completion for kitcar
function __kitcar_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] __complete -- $words[2..-1] 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path (commandline -ct)
            case ':directories'
                __fish_complete_directories (commandline -ct)
            case ':nospace'
                continue
            case '*'
                echo $line
        end
    end
end
complete -c kitcar -f -a '(__kitcar_complete)'
"""
SCRIPTS = {"bash": _BASH, "fish": _FISH, "zsh": _ZSH}


@verb(
    "completion",
    Usage(
        "bash|zsh|fish",
        "Print the script that completes commands in a shell",
        """
        Prints a script for a shell. With it, the tab key completes commands, flags, the names of local modelkits with their
        tags and digests, files and directories.
        """,
        """
        # For this bash session
        source <(kitcar completion bash)

        # For every bash session of this user
        kitcar completion bash > ~/.local/share/bash-completion/completions/kitcar

        # zsh, in a directory of $fpath
        kitcar completion zsh > "${fpath[1]}/_kitcar"

        # fish
        kitcar completion fish > ~/.config/fish/completions/kitcar.fish
        """,
    ),
    takes=Arity(0, 1),
)
def command(session: Session, call: Call) -> None:
    """Prints the script, or help where no shell is named.

    Raises:
        InvalidError: there is no script for the shell.
    """
    if not call.arguments:
        session.console.write(click.get_current_context().get_help() + "\n")
        return
    script = SCRIPTS.get(call.arguments[0])
    if script is None:
        raise InvalidError(
            f"there is no completion for {call.arguments[0]}", hint=f"there is for {', '.join(sorted(SCRIPTS))}"
        )
    session.console.write(script)
