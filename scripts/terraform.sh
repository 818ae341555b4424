# What deploy-aws and destroy-aws share; sourced by them, with $profile.
bin=.venv/bin

if ! command -v terraform >/dev/null 2>&1; then
    echo "There is no terraform. Install 1.9 or later: see docs/aws.md." >&2
    exit 1
fi
if [ ! -f "terraform/profiles/$profile.tfvars" ]; then
    echo "There is no profile $profile. There are: $(cd terraform/profiles && ls | sed 's/\.tfvars$//' | xargs)" >&2
    exit 1
fi

# given PROFILE COMMAND [options]: terraform with the profile's values, and yours after them.
given() {
    values="-var-file=profiles/$1.tfvars"
    [ ! -f terraform/own.tfvars ] || values="$values -var-file=own.tfvars"
    command=$2
    shift 2
    # shellcheck disable=SC2086 # two words are meant
    terraform -chdir=terraform "$command" $values "$@"
}
