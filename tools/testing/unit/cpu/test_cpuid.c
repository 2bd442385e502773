// SPDX-License-Identifier: GPL-2.0
/*
 * CPUID table: lookup against a slow reference, ranges by vendor, sub-leaves, and the bits that
 * follow the guest's state.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/cpu/cpuid_table.h"

#define SIG KVM_CPUID_FLAG_SIGNIFCANT_INDEX

static struct cpuid_table table;

static const struct cpuid_component components[64] = {
	[2] = { 256, 576, false },
	[5] = { 64, 1088, false },
	[6] = { 512, 1152, true },
	[7] = { 1024, 1664, false },
	[9] = { 8, 2688, false },
	[11] = { 16, 0, true },
};

static struct kvm_cpuid_entry2 vendor(u32 max, const char *name)
{
	struct kvm_cpuid_entry2 e = { .function = 0, .eax = max };

	memcpy(&e.ebx, name, 4);
	memcpy(&e.edx, name + 4, 4);
	memcpy(&e.ecx, name + 8, 4);
	return e;
}

static void build(struct kvm_cpuid_entry2 *entry, unsigned int nr)
{
	memset(&table, 0xa5, sizeof(table));
	table.entry = entry;
	table.nr = nr;
	cpuid_table_build(&table);
}

/*
 * What the ABI says, word by word: the first entry of the leaf that has no index or the right one.
 */
static struct kvm_cpuid_entry2 *slow_find(struct kvm_cpuid_entry2 *entry, unsigned int nr, u32 leaf,
					  u32 index)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (entry[i].function == leaf &&
		    (!(entry[i].flags & SIG) || entry[i].index == index))
			return &entry[i];
	return NULL;
}

START_TEST(lookup_is_the_reference)
{
	static const u32 bases[] = { 0, 0x80000000, 0x40000000, 0xc0000000, 0x8fffffe0 };
	struct kvm_cpuid_entry2 entry[CPUID_MAX_ENTRIES];
	unsigned int round, i, nr;
	u32 leaf, index;

	srand(_i + 1);
	for (round = 0; round < 50; round++) {
		nr = rand() % (CPUID_MAX_ENTRIES + 1);
		for (i = 0; i < nr; i++) {
			entry[i] = (struct kvm_cpuid_entry2) {
				.function = bases[rand() % 5] + rand() % 40,
				.index = rand() % 4,
				.flags = rand() % 2 ? SIG : 0,
				.eax = i,
			};
		}
		build(entry, nr);
		for (i = 0; i < 500; i++) {
			leaf = bases[rand() % 5] + rand() % 42;
			index = rand() % 5;
			ck_assert_ptr_eq(cpuid_table_find(&table, leaf, index),
					 slow_find(entry, nr, leaf, index));
		}
	}
}
END_TEST

struct range_row {
	const char *name, *vendor;
	u32 leaf, index, eax, ecx, edx;
	bool exact;
};

static const struct range_row range_rows[] = {
	{ "intel, basic, there",	"GenuineIntel", 1, 0, 0x111, 0, 0, true },
	{ "intel, hole in range",	"GenuineIntel", 3, 0, 0, 0, 0, false },
	{ "intel, beyond basic",	"GenuineIntel", 0x20, 0, 0xddd, 0, 0, false },
	{ "intel, beyond, sub-leaf 1",	"GenuineIntel", 0x20, 1, 0xdd1, 0, 0, false },
	{ "intel, beyond extended",	"GenuineIntel", 0x80000009, 0, 0xddd, 0, 0, false },
	{ "intel, no hypervisor range",	"GenuineIntel", 0x40000100, 0, 0xddd, 0, 0, false },
	{ "intel, hypervisor in range",	"GenuineIntel", 0x40000001, 0, 0, 0, 0, false },
	{ "intel, beyond hypervisor",	"GenuineIntel", 0x40000002, 0, 0xddd, 0, 0, false },
	{ "intel, centaur",		"GenuineIntel", 0xc0000000, 0, 0xddd, 0, 0, false },
	{ "amd, beyond basic",		"AuthenticAMD", 0x20, 0, 0, 0, 0, false },
	{ "amd, beyond extended",	"AuthenticAMD", 0x80000009, 0, 0, 0, 0, false },
	{ "hygon, beyond basic",	"HygonGenuine", 0x20, 0, 0, 0, 0, false },
	{ "topology, there",		"GenuineIntel", 0xb, 1, 0xb1, 0x201, 7, true },
	{ "topology, beyond",		"GenuineIntel", 0xb, 0x105, 0, 5, 7, false },
};

START_TEST(ranges)
{
	const struct range_row *row = &range_rows[_i];
	struct kvm_cpuid_entry2 entry[] = {
		vendor(0xd, row->vendor),
		{ .function = 1, .eax = 0x111 },
		{ .function = 0xb, .index = 0, .flags = SIG, .eax = 0xb0, .edx = 7 },
		{ .function = 0xb, .index = 1, .flags = SIG, .eax = 0xb1, .ecx = 0x201, .edx = 7 },
		{ .function = 0xd, .index = 0, .flags = SIG, .eax = 0xddd },
		{ .function = 0xd, .index = 1, .flags = SIG, .eax = 0xdd1 },
		{ .function = 0x40000000, .eax = 0x40000001 },
		{ .function = 0x80000000, .eax = 0x80000008 },
	};
	struct cpuid_regs4 out;
	bool exact;

	build(entry, sizeof(entry) / sizeof(entry[0]));
	exact = cpuid_table_execute(&table, row->leaf, row->index, &out);
	ck_assert_msg(out.r[LEAF_EAX] == row->eax && out.r[LEAF_ECX] == row->ecx &&
			      out.r[LEAF_EDX] == row->edx,
		      "%s: eax %x ecx %x edx %x", row->name, out.r[LEAF_EAX], out.r[LEAF_ECX],
		      out.r[LEAF_EDX]);
	ck_assert_msg(exact == row->exact, "%s: exact %d", row->name, exact);
}
END_TEST

START_TEST(empty_table)
{
	struct cpuid_regs4 out;

	build(NULL, 0);
	memset(&out, 0xff, sizeof(out));
	ck_assert(!cpuid_table_execute(&table, 0, 0, &out));
	ck_assert_uint_eq(out.r[LEAF_EAX] | out.r[LEAF_EBX] | out.r[LEAF_ECX] | out.r[LEAF_EDX], 0);
	ck_assert(!cpuid_table_execute(&table, 0x12345678, 0, &out));
}
END_TEST

START_TEST(xsave_sizes)
{
	/*
	 * SDM, "Extended Region of an XSAVE Area": standard offsets are fixed, compacted ones
	 * follow each other.
	 */
	ck_assert_uint_eq(cpuid_xsave_size(1, false, components), 576);
	ck_assert_uint_eq(cpuid_xsave_size(3, true, components), 576);
	ck_assert_uint_eq(cpuid_xsave_size(7, false, components), 832);
	ck_assert_uint_eq(cpuid_xsave_size(0x207, false, components), 2696);
	ck_assert_uint_eq(cpuid_xsave_size(0x207, true, components), 576 + 256 + 8);
	ck_assert_uint_eq(cpuid_xsave_size(0xe7, true, components), 576 + 256 + 64 + 512 + 1024);
	/* Component 11 starts at a multiple of 64. */
	ck_assert_uint_eq(cpuid_xsave_size(0xa07, true, components), 896 + 16);
}
END_TEST

START_TEST(runtime_bits)
{
	struct kvm_cpuid_entry2 entry[] = {
		vendor(0xd, "GenuineIntel"),
		{ .function = 1, .ecx = 1u << 26, .edx = 0 },
		{ .function = 7, .index = 0, .flags = SIG, .ecx = 1u << 3 },
		{ .function = 0xd, .index = 0, .flags = SIG, .eax = 7 },
		{ .function = 0xd, .index = 1, .flags = SIG, .eax = 1u << 1 },
	};
	struct cpuid_runtime on = { true, true, true, 7, 0 }, off = { false, false, false, 1, 0 };

	build(entry, 5);
	cpuid_table_update(&table, &on, components);
	ck_assert_uint_eq(entry[1].ecx, 1u << 26 | 1u << 27);
	ck_assert_uint_eq(entry[1].edx, 1u << 9);
	ck_assert_uint_eq(entry[2].ecx, 1u << 3 | 1u << 4);
	ck_assert_uint_eq(entry[3].ebx, 832);
	ck_assert_uint_eq(entry[4].ebx, 832);
	cpuid_table_update(&table, &off, components);
	ck_assert_uint_eq(entry[1].ecx, 1u << 26);
	ck_assert_uint_eq(entry[1].edx, 0);
	ck_assert_uint_eq(entry[2].ecx, 1u << 3);
	ck_assert_uint_eq(entry[3].ebx, 576);

	/*
	 * A feature that the guest does not have has no OS bit, and plain XSAVE no compacted size.
	 */
	entry[1].ecx = entry[2].ecx = entry[4].eax = entry[4].ebx = 0;
	cpuid_table_update(&table, &on, components);
	ck_assert_uint_eq(entry[1].ecx | entry[2].ecx | entry[4].ebx, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cpu/cpuid");
	TCase *c = tcase_create("cpuid");
	SRunner *r;
	int failed;

	tcase_add_loop_test(c, lookup_is_the_reference, 0, 20);
	tcase_add_loop_test(c, ranges, 0, sizeof(range_rows) / sizeof(range_rows[0]));
	tcase_add_test(c, empty_table);
	tcase_add_test(c, xsave_sizes);
	tcase_add_test(c, runtime_bits);
	suite_add_tcase(s, c);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
