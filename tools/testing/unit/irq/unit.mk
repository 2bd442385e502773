# SPDX-License-Identifier: GPL-2.0
irq-srcs := $(addprefix arch/x86/irq/,lapic.c lapic_access.c lapic_dest.c lapic_state.c lapic_timer.c \
	ioapic.c pic.c pit.c pit_state.c msi.c)
