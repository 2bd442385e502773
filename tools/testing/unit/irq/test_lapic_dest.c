// SPDX-License-Identifier: GPL-2.0
/*
 * Destinations of interrupt messages: every mode against a second formulation of the manual's
 * rules, exhaustive over 8-bit names; x2APIC over four clusters; shorthands, acceptance and
 * lowest-priority arbitration.
 */
#include "irq_test.h"

#include "arch/x86/irq/lapic_dest.h"
#include "arch/x86/irq/msi.h"

static struct lapic_addr xapic(u8 xid, u8 ldr, u8 model)
{
	return (struct lapic_addr){ .id = xid, .xid = xid, .ldr = ldr, .model = model, .enabled = true, .sw_enabled = true };
}

static struct lapic_addr x2apic(u32 id)
{
	return (struct lapic_addr){ .id = id, .ldr = lapic_x2_ldr(id), .x2apic = true, .enabled = true, .sw_enabled = true };
}

static bool matches(const struct lapic_addr *a, u32 dest, bool logical)
{
	const struct irq_msg m = { .dest = dest, .logical = logical };

	return lapic_match(a, &m, false);
}

START_TEST(physical)
{
	unsigned int id, dest;

	for (id = 0; id < 256; id++) {
		const struct lapic_addr a = xapic(id, 0, LAPIC_DFR_FLAT);

		for (dest = 0; dest < 256; dest++)
			expect_msg(matches(&a, dest, false) == (dest == id || dest == 255),
				   "id %u dest %u", id, dest);
		expect(!matches(&a, 0x100 | id, false));
	}
}
END_TEST

/*
 * Flat: the names are sets of up to eight processors; 0xff is everybody, also those without a name.
 */
START_TEST(flat)
{
	unsigned int ldr, dest, bit;

	for (ldr = 0; ldr < 256; ldr++) {
		const struct lapic_addr a = xapic(1, ldr, LAPIC_DFR_FLAT);

		for (dest = 0; dest < 256; dest++) {
			bool want = dest == 255;

			for (bit = 0; bit < 8; bit++) {
				if ((ldr >> bit) % 2 && (dest >> bit) % 2)
					want = true;
			}
			expect_msg(matches(&a, dest, true) == want, "ldr %#x dest %#x", ldr, dest);
		}
		expect(!matches(&a, 0x1ff, true));
	}
}
END_TEST

/* Cluster: high nibble names a cluster, low nibble a set of its four members. */
START_TEST(clusters)
{
	unsigned int ldr, dest, member;

	for (ldr = 0; ldr < 256; ldr++) {
		const struct lapic_addr a = xapic(1, ldr, LAPIC_DFR_CLUSTER);

		for (dest = 0; dest < 256; dest++) {
			bool want = dest == 255;

			for (member = 1; member <= 8; member *= 2) {
				if (ldr / 16 == dest / 16 && (ldr % 16 & member) &&
				    (dest % 16 & member))
					want = true;
			}
			expect_msg(matches(&a, dest, true) == want, "ldr %#x dest %#x", ldr, dest);
		}
	}
}
END_TEST

START_TEST(undefined_model)
{
	unsigned int model, dest;

	for (model = 1; model < 15; model++) {
		const struct lapic_addr a = xapic(1, 0xff, model);

		for (dest = 0; dest < 255; dest++)
			expect(!matches(&a, dest, true));
	}
}
END_TEST

START_TEST(x2apic_ids)
{
	u32 id, cluster, set, dest;

	for (id = 0; id < 64; id++) {
		const struct lapic_addr a = x2apic(id);

		for (dest = 0; dest < 512; dest++)
			expect_msg(matches(&a, dest, false) == (dest == id), "id %u dest %u", id,
				   dest);
		for (cluster = 0; cluster < 6; cluster++) {
			for (set = 0; set < 0x10000; set += 1 + set / 64) {
				bool want = id / 16 == cluster && (set >> id % 16) % 2;

				expect_msg(matches(&a, cluster * 0x10000 + set, true) == want,
					   "id %u: %u:%#x", id, cluster, set);
			}
		}
	}
}
END_TEST

/* A vCPU above 255 that is still in xAPIC mode can be started by its x2APIC ID. */
START_TEST(big_id_in_xapic_mode)
{
	struct lapic_addr a = xapic(0, 0, LAPIC_DFR_FLAT);

	a.id = 0x100;
	expect(matches(&a, 0x100, false));
	expect(matches(&a, 0, false));
	expect(!matches(&a, 0x101, false));
}
END_TEST

START_TEST(shorthands)
{
	static const struct {
		u8 shorthand;
		bool self, others;
	} rows[] = {
		{ IRQ_DEST_SELF, true, false },
		{ IRQ_DEST_ALL, true, true },
		{ IRQ_DEST_OTHERS, false, true },
	};
	struct lapic_addr a = x2apic(7);
	unsigned int i;

	for (i = 0; i < 3; i++) {
		const struct irq_msg m = { .shorthand = rows[i].shorthand, .dest = 99 };

		a.enabled = true;
		expect_eq(lapic_match(&a, &m, true), rows[i].self);
		expect_eq(lapic_match(&a, &m, false), rows[i].others);
		a.enabled = false;
		expect(!lapic_match(&a, &m, true) && !lapic_match(&a, &m, false));
	}
}
END_TEST

/* Who is meant by 0xff and by all ones, for each sender and each mode of the receiver */
START_TEST(broadcasts)
{
	static const struct {
		const char *name;
		bool x2, ids32, no_quirk;
		u32 dest;
		bool logical, want;
	} rows[] = {
		{ "device ff to xAPIC", false, false, false, 0xff, false, true },
		{ "device ff to xAPIC without quirk", false, true, true, 0xff, false, true },
		{ "device ff to x2APIC", true, false, false, 0xff, false, true },
		{ "device ff to x2APIC, logical", true, false, false, 0xff, true, true },
		{ "device ff to x2APIC without quirk", true, true, true, 0xff, false, false },
		{ "device ff without quirk is CPUs 0-7 of cluster 0", true, true, true, 0xff, true, true },
		{ "device all ones, 32 bits", true, true, true, ~0u, false, true },
		{ "device all ones to xAPIC, 32 bits", false, true, true, ~0u, false, true },
		{ "device all ones are not a destination without 32 bits", true, false, true, ~0u, false, false },
	};
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct lapic_addr a = rows[i].x2 ? x2apic(5) : xapic(5, 0x20, LAPIC_DFR_FLAT);
		const struct msi_api api = { .ids32 = rows[i].ids32, .no_quirk = rows[i].no_quirk };
		struct irq_msg m = { .dest = rows[i].dest, .logical = rows[i].logical };

		irq_msg_broadcast(&m, &api);
		expect_msg(lapic_match(&a, &m, false) == rows[i].want, "%s", rows[i].name);
	}
}
END_TEST

START_TEST(ipi_broadcasts)
{
	const struct lapic_addr x = xapic(5, 0, LAPIC_DFR_CLUSTER), x2 = x2apic(5);
	struct page page;
	struct irq_msg m;
	struct lapic l;

	fresh_lapic(&l, &page, 0, false);
	expect(lapic_icr(&l, 0x40 | LAPIC_ICR_LOGICAL, 0xff000000, &m));
	expect(lapic_match(&x, &m, false));
	expect(lapic_icr(&l, 0x40, 0x05000000, &m));
	expect(lapic_match(&x, &m, false));

	fresh_lapic(&l, &page, 0, true);
	expect(lapic_icr(&l, 0x40, ~0u, &m));
	expect(lapic_match(&x2, &m, false) && lapic_match(&x, &m, false));
	expect(lapic_icr(&l, 0x40, 0xff, &m));
	expect(!lapic_match(&x2, &m, false));
}
END_TEST

START_TEST(acceptance)
{
	struct lapic_addr a = x2apic(1);
	unsigned int mode;

	for (mode = 0; mode < 8; mode++) {
		const struct irq_msg m = { .mode = mode, .vector = 0x40 };
		bool maskable = mode == IRQ_MODE_FIXED || mode == IRQ_MODE_LOWEST;

		a.enabled = a.sw_enabled = true;
		expect_eq(lapic_takes(&a, &m), mode != IRQ_MODE_RESERVED);
		a.sw_enabled = false;
		expect_eq(lapic_takes(&a, &m), mode != IRQ_MODE_RESERVED && !maskable);
		a.enabled = false;
		expect(!lapic_takes(&a, &m));
	}
}
END_TEST

/*
 * All priorities of up to four rivals from four classes: a winner has the lowest class, and equals
 * share evenly.
 */
START_TEST(arbitration)
{
	unsigned int n, code, i, vector;

	for (n = 1; n <= 4; n++) {
		for (code = 0; code < 1u << 2 * n; code++) {
			struct lapic_rival r[4] = { 0 };
			unsigned int wins[4] = { 0 }, lowest = 16, equal = 0;

			for (i = 0; i < n; i++) {
				r[i].prio = (code >> 2 * i & 3) << 4 | (i * 5 & 0xf);
				if (r[i].prio / 16 < lowest)
					lowest = r[i].prio / 16;
			}
			for (i = 0; i < n; i++)
				equal += r[i].prio / 16 == lowest;
			for (vector = 0; vector < 256; vector++) {
				unsigned int w = lapic_arbitrate(r, n, vector);

				expect(w < n);
				expect_eq(w, lapic_arbitrate(r, n, vector));
				wins[w]++;
			}
			for (i = 0; i < n; i++) {
				if (r[i].prio / 16 != lowest)
					expect_eq(wins[i], 0);
				else
					expect(wins[i] >= 256 / equal);
			}
		}
	}
}
END_TEST

/* The snapshot follows what the guest does to its names. */
START_TEST(snapshot)
{
	struct lapic_effect fx = { 0 };
	struct lapic_addr a;
	struct page page;
	struct lapic l;

	fresh_lapic(&l, &page, 3, false);
	lapic_mmio_write(&l, LAPIC_ID, 4, 0x42ffffff, NULL, &fx);
	lapic_mmio_write(&l, LAPIC_LDR, 4, 0x21000000, NULL, &fx);
	lapic_mmio_write(&l, LAPIC_DFR, 4, 0, NULL, &fx);
	expect(fx.what & LAPIC_DID_MAP);
	a = lapic_addr(&l);
	expect(a.id == 3 && a.xid == 0x42 && a.ldr == 0x21 && a.model == LAPIC_DFR_CLUSTER &&
	       !a.x2apic);
	expect_eq(lapic_reg(&l, LAPIC_DFR), 0x0fffffff);

	fx.what = 0;
	lapic_mmio_write(&l, LAPIC_SVR, 4, 0xff, NULL, &fx);
	expect(fx.what & LAPIC_DID_MAP);
	expect(!lapic_addr(&l).sw_enabled && lapic_addr(&l).enabled);

	expect_eq(lapic_set_base(&l, l.base | LAPIC_BASE_EXTD, false), 0);
	a = lapic_addr(&l);
	expect(a.x2apic && a.ldr == 8 && lapic_reg(&l, LAPIC_ID) == 3);
	expect_eq(lapic_set_base(&l, 0xfee00000, false), 0);
	expect(!lapic_addr(&l).enabled);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lapic_dest");

	add_case(s, "physical", physical);
	add_case(s, "flat", flat);
	add_case(s, "cluster", clusters);
	add_case(s, "undefined model", undefined_model);
	add_case(s, "x2apic", x2apic_ids);
	add_case(s, "id above 255 in xAPIC mode", big_id_in_xapic_mode);
	add_case(s, "shorthands", shorthands);
	add_case(s, "broadcasts", broadcasts);
	add_case(s, "IPI broadcasts", ipi_broadcasts);
	add_case(s, "acceptance", acceptance);
	add_case(s, "arbitration", arbitration);
	add_case(s, "snapshot", snapshot);
	return run_suite(s);
}
