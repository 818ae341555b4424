"""All stages that can be killed, by name."""

from tests.faults.kills import (
    CollectorVictim,
    NotifierVictim,
    PoisonedProcessorVictim,
    ProcessorVictim,
    ReshardVictim,
    Victim,
)
from tests.faults.lake_kills import (
    BuilderVictim,
    IntakeVictim,
    LanderVictim,
    MaintenanceVictim,
)

VICTIMS: dict[str, type[Victim]] = {
    victim.name: victim
    for victim in (
        CollectorVictim,
        ProcessorVictim,
        NotifierVictim,
        PoisonedProcessorVictim,
        ReshardVictim,
        IntakeVictim,
        LanderVictim,
        BuilderVictim,
        MaintenanceVictim,
    )
}
